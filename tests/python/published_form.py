"""Files in the form of the published ones, at base size: the program's codes equal PyTorch's statement of the method.

    python tests/python/published_form.py FOLDER PROGRAM

Networks at random, saved with all that the published code's training keeps beside the weights. The tokenizer's codes
of 32 images are checked here; FOLDER then holds a pre-training model's and a classifier's case for
tests/train/exchange_test.cpp.
"""
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from exchange import beit, new_case, off_trivial, require, save_as_published, save_expected

SHARED = Path(__file__).resolve().parents[3] / "shared"
sys.path.insert(0, str(SHARED / "oracle"))
import beit2_oracle as oracle  # noqa: E402

IMAGES, SIZE, SHORT_SIDE = 32, 224, 256
TIE = 1e-5  # two codes this equally near may change places: PyTorch's own kernels differ by as much


def view(path):
    """The evaluation's view of an image, [3, 224, 224] in [0, 1]: short side to 256, bicubic, the middle."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    image = image.resize([int(SHORT_SIDE * side / short) for side in image.size], Image.Resampling.BICUBIC)
    left, top = (round((side - SIZE) / 2) for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def tokenizer(folder, program):
    torch.manual_seed(5)
    model = oracle.vqkd_base(decoder_depth=1, attention="sdpa").eval()
    off_trivial(model)
    path = folder / "tokenizer.pth"
    beside = {"teacher_model.conv1.weight": torch.randn(8, 3, 4, 4), "scaling_layer.shift": torch.randn(1, 3, 1, 1),
              "scaling_layer.scale": torch.randn(1, 3, 1, 1)}
    save_as_published(path, model.state_dict() | beside, model="vqkd_encoder_base_decoder_1x768x12_clip")

    images = folder / "images"
    images.mkdir()
    for image in sorted((SHARED / "data/imagenet-sample").glob("*.JPEG"))[:IMAGES]:
        shutil.copy(image, images)
    beit(program, "tokenize", "--tokenizer", path, "--data", images, "--output", folder / "codes.safetensors")
    with safe_open(folder / "codes.safetensors", "pt") as file:
        codes, paths = file.get_tensor("codes").long(), json.loads(file.metadata()["paths"])
    require(codes.shape == (IMAGES, 196), f"tokenizer: expected codes [{IMAGES}, 196], got {list(codes.shape)}")

    similarity = []
    for path in paths:
        features = model.encode_task_layer(model.encoder.patch_tokens(view(path)[None] * 2 - 1))
        similarity.append(torch.nn.functional.normalize(features, dim=-1)[0] @ model.quantize.embedding.weight.t())
    similarity = torch.stack(similarity)
    expected = similarity.argmax(-1)
    other = codes != expected
    lost = similarity.amax(-1) - similarity.gather(-1, codes[..., None])[..., 0]
    print(f"published form: {int(other.sum())} of {codes.numel()} codes are others, as near within {lost.max():.1e}; "
          f"{len(expected.unique())} different codes")
    require(len(expected.unique()) > 100, "tokenizer: expected images of many codes")
    require(lost.max() < TIE and other.float().mean() < 1e-3, "tokenizer: the program's codes are not PyTorch's")


def pretraining(folder):
    torch.manual_seed(6)
    case = new_case(folder, "pretraining")
    model = oracle.mim_base(attention="sdpa").eval()
    off_trivial(model)
    images, codes = torch.randn(2, 3, 224, 224), torch.randint(8192, (2, 196))
    mask = torch.stack([torch.randperm(196) < 75 for _ in range(2)])
    save_as_published(case / "weights/model.pth", model.state_dict(), model="beit_base_patch16_224_8k_vocab_cls_pt",
                      early_layers=9, head_layers=2, shared_lm_head=True)
    main, cls_pt = model(images, mask)
    losses = [torch.nn.functional.cross_entropy(logits, codes[mask]) for logits in (main, cls_pt)]
    save_expected(case, {"in.images": images, "in.mask": mask, "in.codes": codes, "out.logits_main": main,
                         "out.logits_cls_pt": cls_pt, "out.loss_main": losses[0], "out.loss_cls_pt": losses[1]})


def classifier(folder):
    torch.manual_seed(7)
    case = new_case(folder, "classifier")
    config = oracle.ViTConfig(abs_pos=False, rel_pos="block", layer_scale=0.1, attention="sdpa")
    model = oracle.ViT(config, classes=1000, head_scale=1).eval()
    off_trivial(model)
    images = torch.randn(2, 3, 224, 224)
    save_as_published(case / "weights/model.pth", model.state_dict(), model="beit_base_patch16_224")
    save_expected(case, {"in.images": images, "out.logits": model(images)})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    # Cut at one deviation this takes a minute, and where the weights start is nothing to these tests.
    torch.nn.init.trunc_normal_ = lambda tensor, std, **bounds: tensor.data.normal_(std=std)
    with torch.no_grad():
        tokenizer(folder, sys.argv[2])
        pretraining(folder)
        classifier(folder)

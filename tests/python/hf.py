"""Weights to and from Hugging Face transformers, by `beit convert`.

    python tests/python/hf.py FOLDER PROGRAM

Small networks of transformers, at random: what it saves is converted to the reference's names, to our own form and
back, bit by bit; what we export it loads whole, and computes the same. FOLDER then holds the cases for
tests/train/exchange_test.cpp.
"""
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling, CLIPConfig,  # noqa: E402
                          CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD  # noqa: E402

from exchange import (beit, branch_like, folder_of, new_case, off_trivial, require, require_close, require_equal,  # noqa: E402
                      save_as_published, save_expected, weights_of)
from names import reference_from_hf  # noqa: E402

SIZE = dict(hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, image_size=32,
            patch_size=4, layer_norm_eps=1e-6)
CLASSIFIERS = {
    "mean": dict(use_relative_position_bias=True),
    "cls": dict(use_relative_position_bias=True, use_mean_pooling=False),
    "shared_bias": dict(use_shared_relative_position_bias=True),
    "absolute": dict(use_absolute_position_embeddings=True, layer_scale_init_value=0.0),
}
# What decides the network; the rest is for training, or other networks.
KEYS = ("model_type", "architectures", *SIZE, "num_channels", "hidden_act", "use_mask_token",
        "use_absolute_position_embeddings", "use_relative_position_bias", "use_shared_relative_position_bias",
        "use_mean_pooling", "num_labels")


def load(kind, folder):
    """What transformers makes of a folder; it must find all it looks for and nothing else."""
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    require(not any(report.values()), f"{folder}: transformers reports {report}")
    return model.eval()


def without_index(tensors):
    """Without the buffers that the reference saves beside its bias tables."""
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("relative_position_index")}


def check(case, program, model, compute):
    """`model` to `case` and through every form; returns the reference's names of its weights."""
    kind, heads = type(model), ("--heads", model.config.num_attention_heads)
    model.save_pretrained(case / "hf")
    theirs = weights_of(case / "hf")
    reference = reference_from_hf(theirs)
    published = folder_of(case, reference) / "reference.pth"
    save_as_published(published, reference)

    def convert(source, name, to, *options):
        beit(program, "convert", source, case / name, "--to", to, *options)
        return case / name

    def require_same(exported, what):
        require_equal(weights_of(exported), theirs, f"{case.name}: {what}")
        loaded = load(kind, exported)
        for key in KEYS + (("layer_scale_init_value",) if model.config.layer_scale_init_value == 0 else ()):
            got, expected = getattr(loaded.config, key), getattr(model.config, key)
            require(got == expected, f"{case.name}: {what}: {key}: expected {expected}, got {got}")
        return require_close(compute(loaded), compute(model), f"{case.name}: {what}")

    largest = require_same(convert(published, "from_reference", "hf", *heads), "reference to hf")
    ours = convert(case / "hf", "weights/ours.safetensors", "safetensors")
    require_equal(load_file(ours), reference, f"{case.name}: hf to safetensors")
    require_same(convert(ours, "from_ours", "hf"), "safetensors to hf")
    require_equal(without_index(load_file(convert(case / "hf", "reference.safetensors", "reference"))), reference,
                  f"{case.name}: hf to reference")
    require_equal(without_index(load_file(convert(published, "again.safetensors", "reference", *heads))), reference,
                  f"{case.name}: reference to reference")

    half = {name: tensor.half() for name, tensor in theirs.items()}
    require_equal(weights_of(convert(ours, "half", "hf", "--half")), half, f"{case.name}: half precision")
    load(kind, case / "half")
    require_equal(load_file(convert(ours, "half.safetensors", "safetensors", "--half")), reference_from_hf(half),
                  f"{case.name}: safetensors of half precision")
    print(f"hf: {case.name}: {len(theirs)} tensors equal, logits differ by {largest:.1e}")
    return reference


def classifier(folder, program, name, options):
    case = new_case(folder, "classifier_" + name)
    model = BeitForImageClassification(BeitConfig(**(SIZE | options), num_labels=7)).eval()
    off_trivial(model)
    images = torch.randn(3, 3, 32, 32)
    check(case, program, model, lambda network: network(images.to(network.dtype)).logits)
    require(isinstance(transformers.AutoModelForImageClassification.from_pretrained(case / "from_ours"),
                       BeitForImageClassification), f"{case.name}: the export's kind is not known")
    save_expected(case, {"in.images": images, "out.logits": model(images).logits})


def as_on_the_hub(folder, program):
    """Older files hold index buffers too, and their configurations another epsilon than the reference's."""
    case = new_case(folder, "classifier_hub")
    config = BeitConfig(**(SIZE | dict(layer_norm_eps=1e-12)), use_relative_position_bias=True, num_labels=7)
    model = BeitForImageClassification(config).eval()
    off_trivial(model)
    model.beit.embeddings.patch_embeddings.projection.weight.mul_(10)  # as after training: tokens of order one
    model.save_pretrained(case / "hf")
    theirs = weights_of(case / "hf")
    index = {name.replace("bias_table", "index"): torch.zeros(65, 65, dtype=torch.int64)
             for name in theirs if "table" in name}
    save_file(theirs | index, case / "hf" / "model.safetensors", metadata={"format": "pt"})
    ours = case / "weights" / "ours.safetensors"
    beit(program, "convert", case / "hf", ours, "--to", "safetensors")
    require_equal(load_file(ours), reference_from_hf(theirs), f"{case.name}: hf to safetensors")
    images = torch.randn(3, 3, 32, 32)
    save_expected(case, {"in.images": images, "out.logits": model(images).logits})


def masked(folder, program):
    case = new_case(folder, "masked")
    model = BeitForMaskedImageModeling(BeitConfig(**SIZE, use_mask_token=True, use_shared_relative_position_bias=True,
                                                  vocab_size=16)).eval()
    off_trivial(model)
    images, codes = torch.randn(3, 3, 32, 32), torch.randint(16, (3, 64))
    mask = torch.stack([torch.randperm(64) < 24 for _ in range(3)])
    reference = check(case, program, model, lambda network: network(images.to(network.dtype), mask).logits)
    logits = model(images, mask).logits[mask]
    save_expected(case, {"in.images": images, "in.mask": mask, "in.codes": codes, "out.logits_main": logits,
                         "out.loss_main": torch.nn.functional.cross_entropy(logits, codes[mask])})

    # The CLS branch has no place there; the rest goes as before.
    source = case / "with_branch.pth"
    save_as_published(source, reference | branch_like(reference))
    beit(program, "convert", source, case / "without_branch", "--to", "hf", "--heads", 4)
    require_equal(weights_of(case / "without_branch"), weights_of(case / "hf"), "masked: without the CLS branch")


def clip(folder):
    """The teacher CLIP, alone and with its text tower; its features of our patches."""
    case = new_case(folder, "clip")
    vision = CLIPVisionConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=256,
                              image_size=32, patch_size=4, projection_dim=16)
    text = CLIPTextConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64,
                          vocab_size=99, bos_token_id=1, eos_token_id=2)
    model = CLIPModel(CLIPConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=16)).eval()
    off_trivial(model)
    model.save_pretrained(case / "weights" / "whole")
    tower = CLIPVisionModelWithProjection(vision)
    tower.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name.startswith("vis")})
    tower.save_pretrained(case / "weights" / "tower")
    images = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    tokens = model.vision_model((images - mean) / std).last_hidden_state[:, 1:]
    features = model.visual_projection(model.vision_model.post_layernorm(tokens))
    save_expected(case, {"in.images": images, "out.features": features})


def main(folder, program):
    torch.manual_seed(3)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with torch.no_grad():
        for name, options in CLASSIFIERS.items():
            classifier(folder, program, name, options)
        as_on_the_hub(folder, program)
        masked(folder, program)
        clip(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

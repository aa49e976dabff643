"""Weights to and from timm's Beit, by `beit convert`.

    python tests/python/timm_beit.py FOLDER PROGRAM

Small networks of timm, at random. FOLDER then holds the cases for tests/train/exchange_test.cpp.
"""
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from exchange import (beit, branch_like, folder_of, new_case, off_trivial, require, require_close,  # noqa: E402
                      require_equal, save_as_published, save_expected, weights_of)
from timm_alone import timm  # noqa: E402

SIZE = dict(img_size=32, patch_size=4, embed_dim=64, depth=4, num_heads=4)
FORMS = {
    "mean": dict(num_classes=7),
    "cls": dict(num_classes=7, global_pool="token"),
    "shared_bias": dict(num_classes=7, use_rel_pos_bias=False, use_shared_rel_pos_bias=True),
    "absolute": dict(num_classes=7, use_rel_pos_bias=False, use_abs_pos_emb=True, init_values=None),
}


def network(**options):
    """One of the published architecture, at another size."""
    model = timm.create_model("beitv2_base_patch16_224", **(SIZE | options)).eval()
    off_trivial(model)
    return model


def load(folder):
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def classifier(folder, program, name, options):
    case = new_case(folder, "timm_" + name)
    model, images = network(**options), torch.randn(3, 3, 32, 32)
    weights = model.state_dict()
    pth, safetensors = (folder_of(case, weights) / f"theirs.{form}" for form in ("pth", "safetensors"))
    save_as_published(pth, weights)
    save_file(weights, safetensors)
    timm.models.save_for_hf(model, case / "hub", safe_serialization=True)

    for source in (pth, safetensors, case / "hub"):
        exported = case / f"from_{source.name}"
        beit(program, "convert", source, exported, "--to", "timm", "--heads", 4)
        require_equal(weights_of(exported), weights, f"{case.name}: {source.name} to timm")
        loaded = load(exported)
        require_equal(loaded.state_dict(), weights, f"{case.name}: {source.name} to timm, loaded")
        largest = require_close(loaded(images), model(images), f"{case.name}: {source.name} to timm")
    beit(program, "convert", case / "hub", case / "weights" / "ours.safetensors", "--to", "safetensors")
    require_equal(load_file(case / "weights" / "ours.safetensors"), weights, f"{case.name}: timm to safetensors")
    beit(program, "convert", case / "hub", case / "half", "--to", "timm", "--half")
    require_equal(weights_of(case / "half"), {key: tensor.half() for key, tensor in weights.items()},
                  f"{case.name}: half precision")
    save_expected(case, {"in.images": images, "out.logits": model(images)})
    print(f"timm: {case.name}: {len(weights)} tensors equal, logits differ by {largest:.1e}")


def pretrained(folder, program):
    """A pre-training model goes there as a network without a head: the mask token, lm_head and branch stay behind."""
    model = network(num_classes=0, global_pool="token", use_rel_pos_bias=False, use_shared_rel_pos_bias=True)
    weights, images = model.state_dict(), torch.randn(3, 3, 32, 32)
    head = {"mask_token": torch.randn(1, 1, 64), "lm_head.weight": torch.randn(16, 64), "lm_head.bias": torch.randn(16)}
    source = folder / "pretrained.pth"
    save_as_published(source, weights | head | branch_like(weights))
    exported = folder / "pretrained"
    beit(program, "convert", source, exported, "--to", "timm", "--heads", 4)
    loaded = load(exported)
    require(loaded.num_classes == 0, f"timm: a pre-trained model: expected no classes, got {loaded.num_classes}")
    require_equal(loaded.state_dict(), weights, "timm: a pre-trained model")
    largest = require_close(loaded.forward_features(images), model.forward_features(images),
                            "timm: a pre-trained model")
    print(f"timm: a pre-trained model: {len(weights)} tensors equal, tokens differ by {largest:.1e}")


def main(folder, program):
    torch.manual_seed(4)
    with torch.no_grad():
        for name, options in FORMS.items():
            classifier(folder, program, name, options)
        pretrained(folder, program)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

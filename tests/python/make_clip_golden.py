"""Writes tests/golden/clip.safetensors: a small CLIP image tower as the oracle states it, and what it gives.

    python tests/python/make_clip_golden.py ../shared/oracle tests/golden/clip.safetensors

in.images [B, 3, 16, 16] in [0, 1]; w.*: the tower's tensors under their published names (2 heads);
out.tokens [B, 16, 10]: patch tokens after `ln_post` and `proj`; out.tokens_24: those of
in.images_24, positions resized to 6x6.
"""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from beit2_oracle import CLIP_MEAN, CLIP_STD, ClipVisual, standardise  # noqa: E402


def resized(positions, grid, to):
    patches = positions[1:].T.reshape(1, -1, grid, grid)
    patches = F.interpolate(patches, size=(to, to), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], patches.flatten(2)[0].T])


@torch.no_grad()
def main(path):
    torch.manual_seed(6)
    model = ClipVisual(image_size=16, patch=4, width=24, layers=2, heads=2, out=10).eval()
    for name, parameter in model.named_parameters():
        parameter.normal_(std=0.3)
        if "ln_" in name and name.endswith("weight"):
            parameter.add_(1)
    weights = {"w." + name: tensor.clone() for name, tensor in model.state_dict().items()}
    images, images_24 = torch.rand(2, 3, 16, 16), torch.rand(1, 3, 24, 24)
    tensors = {"in.images": images, "in.images_24": images_24, "out.tokens": model.patch_tokens(standardise(images, CLIP_MEAN, CLIP_STD))}
    model.positional_embedding = torch.nn.Parameter(resized(model.positional_embedding, 4, 6))
    tensors["out.tokens_24"] = model.patch_tokens(standardise(images_24, CLIP_MEAN, CLIP_STD))
    save_file({name: tensor.contiguous() for name, tensor in (tensors | weights).items()}, path)


main(sys.argv[2])

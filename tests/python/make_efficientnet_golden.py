"""Writes tests/golden/efficientnet_lite2.safetensors: what EfficientNet-Lite2 gives, stated in PyTorch without any folding.

    python tests/python/make_efficientnet_golden.py .deps/teacher/efficientnet-lite2.pth tests/golden/efficientnet_lite2.safetensors

in.even [1, 3, 64, 48], in.odd [1, 3, 37, 50]: images in [0, 1]; out.map_*: the map before the last stage of stride 2;
out.logits_*: the classes' logits.
"""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

# Repeats of Lite2 (those of Lite0 times 1.2, rounded up, the first and the last stage excepted), kernel, stride.
STAGES = [(1, 3, 1), (3, 3, 2), (3, 5, 2), (4, 3, 2), (4, 5, 1), (5, 5, 2), (1, 3, 1)]


def same(x, weight, stride=1, groups=1):
    """TensorFlow's padding "same"."""
    pads = []
    for n, k in zip(x.shape[:1:-1], weight.shape[:1:-1]):
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, None, stride, 0, 1, groups)


def norm(w, x, name):
    return F.batch_norm(x, w[name + ".running_mean"], w[name + ".running_var"], w[name + ".weight"], w[name + ".bias"], eps=1e-3)


def network(w, images):
    x = (images * 255 - 127) / 128
    x = F.relu6(norm(w, same(x, w["_conv_stem.weight"], 2), "_bn0"))
    number = 0
    for stage, (repeats, kernel, stride) in enumerate(STAGES):
        if stage == 5:
            tapped = x
        for repeat in range(repeats):
            p = f"_blocks.{number}."
            y = x
            if number > 0:
                y = F.relu6(norm(w, F.conv2d(y, w[p + "_expand_conv.weight"]), p + "_bn0"))
            depthwise = w[p + "_depthwise_conv.weight"]
            assert depthwise.shape[-1] == kernel
            y = F.relu6(norm(w, same(y, depthwise, stride if repeat == 0 else 1, len(depthwise)), p + "_bn1"))
            y = norm(w, F.conv2d(y, w[p + "_project_conv.weight"]), p + "_bn2")
            x = y if repeat == 0 else x + y
            number += 1
    assert f"_blocks.{number}._project_conv.weight" not in w
    x = F.relu6(norm(w, F.conv2d(x, w["_conv_head.weight"]), "_bn1")).mean((2, 3))
    return tapped, F.linear(x, w["_fc.weight"], w["_fc.bias"])


@torch.no_grad()
def main(weights, path):
    w = {name: tensor.double() for name, tensor in torch.load(weights, map_location="cpu").items()}
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, size in (("even", (64, 48)), ("odd", (37, 50))):
        # Smooth noise: maps and logits of the size that pictures give.
        images = F.interpolate(torch.rand(1, 3, 7, 7, generator=generator), size=size, mode="bilinear")
        tapped, logits = network(w, images.double())
        tensors |= {"in." + name: images, "out.map_" + name: tapped.float(), "out.logits_" + name: logits.float()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


main(sys.argv[1], sys.argv[2])

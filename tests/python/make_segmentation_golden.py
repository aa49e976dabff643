"""Writes tests/golden/segmentation.safetensors: what OpenCV makes of small pictures, through which mmsegmentation
resizes and distorts. The pictures are narrower than a vector of 16 bytes: for wider ones OpenCV drops the fraction of
what HSV gives in place of rounding it. python make_segmentation_golden.py [COUNT]: so many more at random, for a wider check that is not
kept. Wants numpy, opencv-python-headless 4, safetensors."""
import pathlib
import sys

import cv2
import numpy as np
from safetensors.numpy import save_file

golden = pathlib.Path(__file__).resolve().parent.parent / "golden"
rng = np.random.default_rng(9)
tensors = {}


def convert(channel, scale=1.0, shift=0.0):
    """mmsegmentation 0.11's PhotoMetricDistortion.convert"""
    return np.clip(channel.astype(np.float32) * scale + shift, 0, 255).astype(np.uint8)


def saturation(rgb, scale):
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = convert(hsv[..., 1], scale)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def hue(rgb, steps):
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + steps) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def add(name, height, width, sizes, scales, steps):
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    rgb[0] = rgb[0, :, :1]  # greys
    tensors[f"in.{name}"] = rgb
    tensors[f"labels.{name}"] = labels = rng.integers(0, 9, (height, width), dtype=np.uint8)
    for h, w in sizes:
        tensors[f"resized.{name}.{h}.{w}"] = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_LINEAR)
        tensors[f"nearest.{name}.{h}.{w}"] = cv2.resize(labels, (w, h), interpolation=cv2.INTER_NEAREST)
    for scale in scales:
        tensors[f"saturation.{name}.{scale}"] = saturation(rgb, scale)
        tensors[f"contrast.{name}.{scale}"] = convert(rgb, scale)
        tensors[f"brightness.{name}.{scale * 20 - 20}"] = convert(rgb, shift=scale * 20 - 20)
    for step in steps:
        tensors[f"hue.{name}.{step}"] = hue(rgb, step)


add("a", 12, 10, [(6, 5), (12, 10), (9, 13), (31, 7), (5, 3), (1, 1)], [0.5, 1.0, 1.37], [-18, -5, 0, 17])
add("b", 1, 5, [(4, 3), (1, 9)], [0.73], [7])
for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 0):
    add(f"random{number}", *rng.integers(1, 120, 2), rng.integers(1, 200, (4, 2)).tolist(),
        [round(rng.uniform(0.5, 1.5), 6) for _ in range(3)], rng.integers(-18, 18, 3).tolist())
save_file(tensors, golden / "segmentation.safetensors")

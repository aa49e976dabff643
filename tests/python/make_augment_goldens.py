"""Writes tests/golden/operations.safetensors, what Pillow and timm make of tiny pictures (one operation each, at sizes
and with numbers that golden/augment does not have), and tests/golden/mixup.safetensors, timm's mixup and cutmix of a
batch. python make_augment_goldens.py [COUNT]: with a count it draws so many more pictures and numbers at random, for a
wider check that is not kept. Wants numpy, pillow, torch, timm, safetensors."""
import pathlib
import random
import sys
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file

from timm_alone import timm  # noqa: F401
from timm.data.auto_augment import AugmentOp, solarize_add
from timm.data.mixup import Mixup

golden = pathlib.Path(__file__).resolve().parent.parent / "golden"
FILL = (7, 200, 99)
rng = np.random.default_rng(3)


def picture(height, width):
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([x * 9, y * 13, (x + y) * 6], -1) % 256
    return Image.fromarray((smooth * 0.8 + rng.integers(0, 50, smooth.shape)).clip(0, 255).astype(np.uint8))


def affine(image, *numbers):
    return image.transform(image.size, Image.AFFINE, numbers, resample=Image.BICUBIC, fillcolor=FILL)


operations = {
    "rotate": lambda i, v: i.rotate(v, resample=Image.BICUBIC, fillcolor=FILL),
    "shear_x": lambda i, v: affine(i, 1, v, 0, 0, 1, 0),
    "shear_y": lambda i, v: affine(i, 1, 0, 0, v, 1, 0),
    "translate_x": lambda i, v: affine(i, 1, 0, v, 0, 1, 0),
    "translate_y": lambda i, v: affine(i, 1, 0, 0, 0, 1, v),
    "brightness": lambda i, v: ImageEnhance.Brightness(i).enhance(v),
    "contrast": lambda i, v: ImageEnhance.Contrast(i).enhance(v),
    "saturation": lambda i, v: ImageEnhance.Color(i).enhance(v),
    "sharpness": lambda i, v: ImageEnhance.Sharpness(i).enhance(v),
    "posterize": lambda i, v: ImageOps.posterize(i, int(v)),
    "solarize": lambda i, v: ImageOps.solarize(i, int(v)),
    "solarize_add": lambda i, v: solarize_add(i, int(v)),
    "autocontrast": lambda i, v: ImageOps.autocontrast(i),
    "equalize": lambda i, v: ImageOps.equalize(i),
    "invert": lambda i, v: ImageOps.invert(i),
}
values = {
    "rotate": [0, 27.3, -8.25, 90, 180, 211.7], "shear_x": [0.27, -0.3], "shear_y": [0.27, -0.3],
    "translate_x": [2.7, -4, 100], "translate_y": [-1.35, 3], "brightness": [0.1], "contrast": [1.9],
    "saturation": [1.9], "sharpness": [0.1, 1.9], "posterize": [0, 1, 8], "solarize": [0, 256], "solarize_add": [110],
    "autocontrast": [0], "equalize": [0], "invert": [0],
}
pictures = {"plain": picture(9, 11), "constant": Image.new("RGB", (4, 3), (7, 99, 255)), "pixel": picture(1, 1),
            "row": picture(1, 6), "column": picture(5, 1), "two": picture(2, 2), "three": picture(3, 3)}
# All values present, so that equalize's steps are larger than one.
pictures["many"] = Image.fromarray((rng.random((24, 25, 3)) ** 2 * 255).astype(np.uint8))
few = {"constant", "pixel", "row", "column", "two", "three"}


def tensor(image):
    return torch.from_numpy(np.asarray(image).copy())


tensors = {}
for name, image in pictures.items():
    tensors[f"in.{name}"] = tensor(image)
    for operation, apply in operations.items():
        if name == "many" and operation not in ("equalize", "autocontrast"):
            continue
        for value in values[operation][:2] if name in few else values[operation]:
            tensors[f"out.{name}.{operation}.{value}"] = tensor(apply(image, value))

for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 0):
    image = picture(*rng.integers(1, 80, 2))
    tensors[f"in.random{number}"] = tensor(image)
    ranges = {"rotate": (-400, 400), "shear_x": (-1, 1), "shear_y": (-1, 1), "translate_x": (-90, 90),
              "translate_y": (-90, 90), "posterize": (0, 8), "solarize": (0, 256), "solarize_add": (0, 128)}
    for operation, apply in operations.items():
        value = round(rng.uniform(*ranges.get(operation, (0, 3))), int(rng.integers(0, 16)))
        value = int(value) if operation.startswith(("posterize", "solarize")) else value
        tensors[f"out.random{number}.{operation}.{value}"] = tensor(apply(image, value))

# RandAugment's operations at a magnitude: timm's names, in our order.
names = ["AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast",
         "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"]
grow = {"Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness"}
small = picture(7, 8)
tensors["in.timm"] = tensor(small)
for increasing in (0, 1):
    for order, name in enumerate(names):
        op_name = name + "Increasing" if increasing and name in grow else name
        for magnitude in (3.7, 9.5, 10):
            for negative in (0, 1):
                if magnitude == 10 and negative:
                    continue
                op = AugmentOp(op_name, prob=1.0, magnitude=magnitude,
                               hparams={"img_mean": FILL, "interpolation": Image.BICUBIC})
                with mock.patch.object(random, "random", lambda: 0.6 if negative else 0.4):
                    tensors[f"timm.{increasing}.{order}.{magnitude}.{negative}"] = tensor(op(small))
tensors = {name: value.contiguous() for name, value in tensors.items()}
save_file(tensors, golden / "operations.safetensors", {"fill": str(FILL)})

torch.manual_seed(5)
images, labels = torch.randn(4, 3, 6, 5), torch.tensor([2, 0, 4, 4])
batch = {"in.images": images, "in.labels": labels}
for name, cut, share, center in (("mixup", False, 0.3, None), ("cutmix", True, 0.55, (1, 3)),
                                 ("cutmix_edge", True, 0.2, (5, 0))):
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=5)
    draws = iter(center or ())
    with mock.patch.object(mixup, "_params_per_batch", lambda: (share, cut)), \
            mock.patch.object(np.random, "randint", lambda low, high, size=None: next(draws)):
        batch[f"out.{name}.images"], batch[f"out.{name}.targets"] = mixup(images.clone(), labels)
    box, kept = (0, 0, 0, 0), share
    if cut:
        from timm.data.mixup import cutmix_bbox_and_lam
        draws = iter(center)
        with mock.patch.object(np.random, "randint", lambda low, high, size=None: next(draws)):
            (top, bottom, left, right), kept = cutmix_bbox_and_lam(images.shape, share)
        box = (top, left, bottom - top, right - left)
    batch[f"mix.{name}.box"], batch[f"mix.{name}.share"] = torch.tensor(box), torch.tensor(float(kept), dtype=torch.float64)
save_file(batch, golden / "mixup.safetensors")

"""Writes tests/golden/finetune.safetensors: loss and gradients of a small classifier whose batch timm has mixed, by
mixup and by cutmix. python make_finetune_golden.py ORACLE_FOLDER. Wants torch, timm, safetensors, and the statement of
the model."""
import pathlib
import sys
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file

from timm_alone import timm  # noqa: F401
from timm.data.mixup import Mixup, cutmix_bbox_and_lam
from timm.loss import SoftTargetCrossEntropy

sys.path.insert(0, sys.argv[1])
import beit2_oracle as oracle  # noqa: E402

golden = pathlib.Path(__file__).resolve().parent.parent / "golden"
CLASSES = 5
torch.manual_seed(31)
model = oracle.ViT(oracle.ViTConfig(image_size=16, patch_size=4, dim=16, depth=2, heads=2, layer_scale=0.1, abs_pos=False,
                                    rel_pos="block"), CLASSES, head_scale=0.5)
for name, parameter in model.named_parameters():  # off their trivial initial values
    if parameter.ndim <= 1 or "table" in name or "token" in name:
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
tensors = {f"w.{name}": value for name, value in model.state_dict().items() if not name.endswith("index")}
images, labels = torch.randn(6, 3, 16, 16), torch.randint(0, CLASSES, (6,))
tensors |= {"in.images": images, "in.labels": labels}
for name, cut, share, center in (("mixup", False, 0.3, ()), ("cutmix", True, 0.6, (3, 14))):
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=CLASSES)
    draws = iter(center * 2)
    with mock.patch.object(mixup, "_params_per_batch", lambda: (share, cut)), \
            mock.patch.object(np.random, "randint", lambda low, high, size=None: next(draws)):
        mixed, targets = mixup(images.clone(), labels)
        box = (0, 0, 0, 0)
        if cut:
            (top, bottom, left, right), share = cutmix_bbox_and_lam(images.shape, share)
            box = (top, left, bottom - top, right - left)
    model.zero_grad()
    loss = SoftTargetCrossEntropy()(model(mixed), targets)
    loss.backward()
    tensors |= {f"{name}.box": torch.tensor(box), f"{name}.share": torch.tensor(float(share), dtype=torch.float64),
                f"{name}.loss": loss.detach()}
    tensors |= {f"{name}.grad.{key}": value.grad.clone() for key, value in model.named_parameters()}
save_file(tensors, golden / "finetune.safetensors")

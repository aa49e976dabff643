"""Writes 200 steps of training as PyTorch's statement of the method takes them: vqkd.safetensors, pretrain.safetensors.

    python tests/python/trajectory.py FOLDER

The demo's images, 32x32 in patches of 4; width 64, three blocks, 256 codes of width 16; the teacher is each patch's
normalised pixels. Each file holds the images `in.images` (uint8), the batches `in.rows` [steps, B], the weights before
the first step `w.*` and the losses `out.loss*` [steps]; pretrain.safetensors also masks and codes [steps, B, N].
"""
import io
import math
import sys
import tarfile
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT.parent / "shared/oracle"))
import beit2_oracle as oracle  # noqa: E402

STEPS, BATCH, WARMUP, GRID, PATCH, CODES, CODE_WIDTH = 200, 32, 20, 8, 4, 256, 16


def demo_images():
    with tarfile.open(ROOT / "demo/data/cifar10-small-train.tar") as tar:
        pictures = [Image.open(io.BytesIO(tar.extractfile(member).read())) for member in tar if member.isfile()]
        return torch.stack([torch.from_numpy(numpy.array(p.convert("RGB"))).permute(2, 0, 1) for p in pictures[::4]])


class Given:
    """In the place of a teacher: each patch's pixels about the middle grey. Normalised ones would do no good: what
    rounding leaves of a patch of one colour would become a target of full length."""

    def see(self, images):
        B, p = len(images), PATCH
        patches = images.reshape(B, 3, GRID, p, GRID, p).permute(0, 2, 4, 3, 5, 1).reshape(B, GRID * GRID, 3 * p * p)
        self.features = patches - 0.5

    def patch_tokens(self, images):
        return self.features


def adamw(model, betas, weight_decay):
    """One-dimensional parameters, biases, positions and CLS do not decay."""
    still = lambda name, p: p.ndim <= 1 or name.endswith(".bias") or name.split(".")[-1] in ("pos_embed", "cls_token")
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return torch.optim.AdamW([{"params": [p for name, p in trained if not still(name, p)], "weight_decay": weight_decay},
                              {"params": [p for name, p in trained if still(name, p)], "weight_decay": 0.0}], betas=betas)


def rate(step, peak, last=1e-5):
    if step < WARMUP:
        return peak * step / (WARMUP - 1)
    return last + 0.5 * (peak - last) * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def take_step(optimizer, loss, lr, clip=None):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
    optimizer.step()


def saved(model):
    return {"w." + name: value.clone() for name, value in model.state_dict().items()}


def vqkd(images, rows):
    torch.manual_seed(1)
    encoder = oracle.ViTConfig(image_size=GRID * PATCH, patch_size=PATCH, dim=64, depth=3, heads=4)
    decoder = oracle.ViTConfig(image_size=GRID, patch_size=1, in_channels=CODE_WIDTH, dim=64, depth=1, heads=4)
    teacher = Given()
    model = oracle.VQKD(encoder, decoder, CODES, CODE_WIDTH, 3 * PATCH * PATCH, teacher).train()
    with torch.no_grad():  # the code book starts from k-means of the first batch
        z = model.encode_task_layer(model.encoder.patch_tokens(images[rows[0]].float() / 255 * 2 - 1)).flatten(0, 1)
        z = torch.nn.functional.normalize(z, dim=-1)
        model.quantize.embedding.weight.copy_(oracle.kmeans(z, CODES, torch.randperm(len(z))[:CODES])[0])
    tensors = saved(model)
    optimizer = adamw(model, (0.9, 0.99), 1e-4)
    losses = []
    for step in range(STEPS):
        x = images[rows[step]].float() / 255
        teacher.see(x)
        loss, reconstruction, commitment, *_ = model(x)
        take_step(optimizer, loss, rate(step, 1e-3))
        losses.append((reconstruction.item(), commitment.item()))
    for i, name in enumerate(("reconstruction", "commitment")):
        tensors["out." + name] = torch.tensor([loss[i] for loss in losses])
    return model.eval(), tensors


def pretrain(images, rows, tokenizer):
    torch.manual_seed(2)
    config = oracle.ViTConfig(image_size=GRID * PATCH, patch_size=PATCH, dim=64, depth=3, heads=4, layer_scale=0.1,
                              abs_pos=False, rel_pos="shared")
    model = oracle.MIM(config, CODES, early=2, head_layers=1).train()
    tensors = saved(model)
    optimizer = adamw(model, (0.9, 0.98), 0.05)
    masks = torch.rand(STEPS, BATCH, GRID * GRID).argsort(-1) < 24
    codes = torch.stack([tokenizer.codes(images[batch].float() / 255) for batch in rows])
    main, cls_pt = [], []
    for step in range(STEPS):
        x = oracle.standardise(images[rows[step]].float() / 255, oracle.IMAGENET_MEAN, oracle.IMAGENET_STD)
        mask, targets = masks[step], codes[step][masks[step]]
        losses = [torch.nn.functional.cross_entropy(logits, targets) for logits in model(x, mask)]
        take_step(optimizer, sum(losses), rate(step, 1.5e-3), clip=3.0)
        main.append(losses[0].item())
        cls_pt.append(losses[1].item())
    tensors.update({"in.masks": masks, "in.codes": codes, "out.main": torch.tensor(main), "out.cls_pt": torch.tensor(cls_pt)})
    return tensors


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    pictures = demo_images()
    torch.manual_seed(0)
    batches = torch.stack([torch.randperm(len(pictures))[:BATCH] for _ in range(STEPS)])
    inputs = {"in.images": pictures, "in.rows": batches}
    trained, tensors = vqkd(pictures, batches)
    save_file({**inputs, **tensors}, folder / "vqkd.safetensors")
    save_file({**inputs, **pretrain(pictures, batches, trained)}, folder / "pretrain.safetensors")

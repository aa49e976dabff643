#!/usr/bin/env python3
"""One stage of the demo (configs/demo.toml) in PyTorch, on the oracle's modules; bench/accuracy.py times it.

    demo_torch.py tokenizer|pretrain|probe --output FOLDER [--form plain|sdpa|compile|sdpa-compile] [--steps N]

What a careful user would write: images are decoded once and stay in memory; the teacher's features of each image and of
its mirror image are computed once, with the same network; crops are Pillow's, in DataLoader's workers, one a core.
Prints one JSON line: seconds a step (median without the first three), steps of a whole run, and the probe's top-1.
Shape letters: B images, N patches, M samples, F features, K classes.
"""
import argparse
import io
import json
import math
import os
import random
import sys
import tarfile
import time
import tomllib
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from PIL import Image

from compare import ROOT

TEACHER_BATCH, STATISTICS_IMAGES = 16, 4096
WARM_UP = 3  # steps that no median counts


def images_of(path):
    """RGB pictures of an archive CLASS/NAME, in order, and their classes' numbers."""
    with tarfile.open(path) as archive:
        files = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)
        pictures = [Image.open(io.BytesIO(archive.extractfile(m).read())).convert("RGB") for m in files]
    names = [m.name.split("/")[-2] for m in files]
    number = {name: i for i, name in enumerate(sorted(set(names)))}
    return pictures, torch.tensor([number[name] for name in names])


def bytes_of(picture):
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(*picture.size[::-1], 3).permute(2, 0, 1)


class Crops(torch.utils.data.Dataset):
    """A random crop, mirrored or not, and a mask of blocks of patches (paper, section 3.1)."""

    def __init__(self, pictures, options):
        self.pictures, self.o = pictures, options
        self.grid = options["image-size"] // options["patch-size"]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        picture, size = self.pictures[i], self.o["image-size"]
        view = picture.resize((size, size), Image.BICUBIC, box=self.box(*picture.size))
        return bytes_of(view.transpose(Image.FLIP_LEFT_RIGHT) if random.random() < 0.5 else view), self.mask()

    def box(self, width, height):
        for _ in range(10):
            area = width * height * random.uniform(self.o["min-crop"], 1)
            aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = random.randint(0, width - w), random.randint(0, height - h)
                return left, top, left + w, top + h
        return 0, 0, width, height

    def mask(self):
        mask, grid, wanted = torch.zeros(self.grid, self.grid, dtype=torch.bool), self.grid, self.o["masked-patches"]
        vain = 0
        while (missing := wanted - int(mask.sum())) > 0 and vain < 10:
            area = random.uniform(self.o["min-mask-block"], missing)
            aspect = math.exp(random.uniform(math.log(0.3), -math.log(0.3)))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            vain += 1
            if h >= grid or w >= grid:
                continue
            top, left = random.randint(0, grid - h), random.randint(0, grid - w)
            block = mask[top:top + h, left:left + w]
            if 0 < h * w - int(block.sum()) <= missing:
                block.fill_(True)
                vain = 0
        free = (~mask.flatten()).nonzero().squeeze(1)
        mask.view(-1)[free[torch.randperm(len(free))[:wanted - int(mask.sum())]]] = True
        return mask.flatten()


class Teacher:
    """EfficientNet-Lite2 to the map before its last stage of stride 2."""
    STAGES = [(1, 3, 1), (3, 3, 2), (3, 5, 2), (4, 3, 2), (4, 5, 1)]  # blocks, kernel, stride of the first

    def __init__(self, path):
        self.w = torch.load(path, map_location="cpu")

    def layer(self, x, conv, norm, stride=1, depthwise=False, act=True):
        w = self.w[conv + ".weight"]
        k = w.shape[-1]
        if k > 1:  # TensorFlow's "same"
            pads = []
            for n in x.shape[:1:-1]:
                total = max((-(-n // stride) - 1) * stride + k - n, 0)
                pads += [total // 2, total - total // 2]
            x = F.pad(x, pads)
        x = F.conv2d(x, w, None, stride, groups=len(w) if depthwise else 1)
        p = norm + "."
        x = F.batch_norm(x, *(self.w[p + n] for n in ("running_mean", "running_var", "weight", "bias")), eps=1e-3)
        return F.relu6(x) if act else x

    @torch.no_grad()
    def features(self, images_BCHW, grid):
        """Images in [0, 1] to [B, N, F]."""
        x = F.interpolate(images_BCHW, (16 * grid, 16 * grid), mode="bicubic", antialias=True).clamp(0, 1)
        x = ((x * 255 - 127) / 128).contiguous(memory_format=torch.channels_last)
        x, block = self.layer(x, "_conv_stem", "_bn0", 2), 0
        for blocks, _, stride in self.STAGES:
            for i in range(blocks):
                p, y = f"_blocks.{block}.", x
                if block > 0:
                    y = self.layer(y, p + "_expand_conv", p + "_bn0")
                y = self.layer(y, p + "_depthwise_conv", p + "_bn1", 1 if i else stride, depthwise=True)
                y = self.layer(y, p + "_project_conv", p + "_bn2", act=False)
                x, block = (x + y if i else y), block + 1
        return x.flatten(2).transpose(1, 2)


def teacher_features(path, pixels_MCHW, grid):
    """[M, 2, N, F] in float16: of each image and of its mirror image, each channel standardised."""
    teacher, found = Teacher(path), []
    for part in pixels_MCHW.split(TEACHER_BATCH):
        x = part / 255
        found.append(torch.stack([teacher.features(x, grid), teacher.features(x.flip(-1), grid)], 1))
    all_M2NF = torch.cat(found)
    some = all_M2NF[:STATISTICS_IMAGES, 0].flatten(0, 1)
    return ((all_M2NF - some.mean(0)) / some.std(0, unbiased=False)).half()


class Trainer:
    """AdamW with the demo's groups, warm-up and cosine, clipping; times every step."""

    def __init__(self, model, options, steps_per_epoch, beta2, fused):
        self.o, self.model, self.seconds = options, model, []
        self.steps = options["epochs"] * steps_per_epoch
        self.warmup = options["warmup-epochs"] * steps_per_epoch
        named = [(n.removeprefix("encoder.").removeprefix("decoder."), p) for n, p in model.named_parameters() if p.requires_grad]
        bare = [p for n, p in named if p.dim() < 2 or n in ("pos_embed", "cls_token")]
        rest = [p for n, p in named if all(p is not b for b in bare)]
        self.optimizer = torch.optim.AdamW([{"params": rest, "weight_decay": options["weight-decay"]},
                                            {"params": bare, "weight_decay": 0.0}], betas=(0.9, beta2), fused=fused)

    def lr(self, step):
        if step < self.warmup:
            return self.o["lr"] * step / max(1, self.warmup - 1)
        done = (step - self.warmup) / (self.steps - self.warmup)
        return self.o["min-lr"] + 0.5 * (self.o["lr"] - self.o["min-lr"]) * (1 + math.cos(math.pi * done))

    def step(self, objective, *batch):
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(len(self.seconds))
        self.optimizer.zero_grad(set_to_none=True)
        loss = objective(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.o["clip-grad"])
        self.optimizer.step()
        return loss

    def go(self, objective, batches, limit):
        """`batches`: a function that gives an epoch's."""
        last, start = limit or self.steps, time.perf_counter()
        while len(self.seconds) < last:
            for batch in batches():
                loss = self.step(objective, *batch)
                self.seconds.append(time.perf_counter() - start)  # with the wait for the batch
                start = time.perf_counter()
                if len(self.seconds) % 100 == 0:
                    print(f"step {len(self.seconds)}/{self.steps}: loss {float(loss.detach()):.4g}", file=sys.stderr)
                if len(self.seconds) == last:
                    break
        return {"step_s": median(self.seconds[WARM_UP:] or self.seconds), "steps": self.steps}


def vit_config(oracle, options, form, **more):
    attention = "sdpa" if "sdpa" in form else "plain"
    return oracle.ViTConfig(image_size=options["image-size"], patch_size=options["patch-size"], dim=options["width"],
                            depth=options["depth"], heads=options["heads"], attention=attention, **more)


def make_tokenizer(oracle, options, form, target_width):
    encoder = vit_config(oracle, options, form)
    decoder = oracle.ViTConfig(image_size=encoder.grid, patch_size=1, in_channels=options["code-dim"], dim=encoder.dim,
                               depth=options["decoder-depth"], heads=encoder.heads, attention=encoder.attention)
    return oracle.VQKD(encoder, decoder, options["codes"], options["code-dim"], target_width)


@torch.no_grad()
def revive(quantizer, used_K, options, z_MF):
    """Codes in hardly any use since the last time become vectors of the batch."""
    dead = (used_K < options["revive-threshold"] * used_K.mean()).nonzero().squeeze(1)
    rows = torch.randperm(len(z_MF))[torch.arange(len(dead)) % len(z_MF)]
    quantizer.embedding.weight[dead] = z_MF[rows]


def train_tokenizer(oracle, options, args):
    pictures, _ = images_of(args.data)
    pixels = torch.stack([bytes_of(p) for p in pictures])
    grid = options["image-size"] // options["patch-size"]
    targets = teacher_features(args.teacher, pixels, grid)
    model = make_tokenizer(oracle, options, args.form, targets.shape[-1]).train()
    compiled = torch.compile if "compile" in args.form else lambda f: f
    encode, decode = compiled(model.encoder.patch_tokens), compiled(model.decoder.patch_tokens)
    quantizer, batch, done = model.quantize, options["batch-size"], 0
    used_K = torch.zeros(options["codes"])
    trainer = Trainer(model, options, len(pixels) // batch, options["beta2"], "sdpa" in args.form)

    def objective(images_BCHW, target_BNF):
        nonlocal done
        z = model.encode_task_layer(encode(images_BCHW * 2 - 1))
        unit_MF = F.normalize(z.detach(), dim=-1).flatten(0, 1)
        if done == 0:
            means, _ = oracle.kmeans(unit_MF, options["codes"], torch.randperm(len(unit_MF))[:options["codes"]])
            quantizer.embedding.weight.data.copy_(means)
        q, commitment, index = quantizer(z)
        done += 1
        used_K.add_(torch.bincount(index, minlength=options["codes"]))
        if done % options["revive-every"] == 0:
            revive(quantizer, used_K, options, unit_MF)
            used_K.zero_()
        B, _, C = q.shape
        predicted = model.decode_task_layer(decode(q.transpose(1, 2).reshape(B, C, grid, grid)))
        return (1 - F.cosine_similarity(predicted, target_BNF, dim=-1)).mean() + commitment

    def batches():
        for rows in torch.randperm(len(pixels))[:len(pixels) // batch * batch].split(batch):
            mirrored = torch.rand(batch) < 0.5
            x = pixels[rows] / 255
            yield torch.where(mirrored[:, None, None, None], x.flip(-1), x), targets[rows, mirrored.long()].float()

    result = trainer.go(objective, batches, args.steps)
    torch.save({"model": model.state_dict(), "target_width": targets.shape[-1]}, args.output / "tokenizer.pth")
    return result


def pretrain(oracle, options, args):
    saved = torch.load(args.output / "tokenizer.pth")
    tokenizer = make_tokenizer(oracle, args.config | args.config["vqkd"], args.form, saved["target_width"])
    tokenizer.load_state_dict(saved["model"])
    tokenizer.eval()
    model = oracle.MIM(vit_config(oracle, options, args.form, abs_pos=False, rel_pos="shared", layer_scale=options["layer-scale"]),
                       args.config["vqkd"]["codes"], options["early-layers"], options["head-layers"]).train()
    compiled = torch.compile if "compile" in args.form else lambda f: f
    codes, loss = compiled(tokenizer.codes), compiled(lambda *batch: oracle.mim_loss(model, *batch))
    loader = torch.utils.data.DataLoader(Crops(images_of(args.data)[0], options), options["batch-size"], shuffle=True,
                                         drop_last=True, num_workers=args.threads, persistent_workers=True)
    trainer = Trainer(model, options, len(loader), 0.98, "sdpa" in args.form)

    def objective(pixels_BCHW, mask_BN):
        x = pixels_BCHW / 255
        return loss(oracle.standardise(x, oracle.IMAGENET_MEAN, oracle.IMAGENET_STD), mask_BN, codes(x))

    result = trainer.go(objective, lambda: loader, args.steps)
    torch.save(model.state_dict(), args.output / "pretrain.pth")
    return result


def fit(x_MF, labels_M, classes, strength):
    """Logistic regression to its minimum, 100 iterations of L-BFGS at most."""
    layer = torch.nn.Linear(x_MF.shape[1], classes)
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=0.01)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, history_size=10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(x_MF), labels_M) + strength / 2 * layer.weight.square().sum()
        loss.backward()
        return loss
    optimizer.step(closure)
    return layer


@torch.no_grad()
def top1(layer, x_MF, labels_M):
    return 100 * (layer(x_MF).argmax(1) == labels_M).float().mean().item()


def probe(oracle, options, args):
    """As `beit probe`: mean of the last block's patches; the penalty is chosen on a fifth of the training set."""
    pretrained = args.config | args.config["pretrain"]
    model = oracle.MIM(vit_config(oracle, pretrained, args.form, abs_pos=False, rel_pos="shared", layer_scale=pretrained["layer-scale"]),
                       args.config["vqkd"]["codes"], pretrained["early-layers"], pretrained["head-layers"]).eval()
    model.load_state_dict(torch.load(args.output / "pretrain.pth"))

    @torch.no_grad()
    def features(path):
        pictures, labels_M = images_of(path)
        parts = torch.stack([bytes_of(p) for p in pictures]).split(options["batch-size"])
        views = (oracle.standardise(p / 255, oracle.IMAGENET_MEAN, oracle.IMAGENET_STD) for p in parts)
        return torch.cat([model.tokens(v)[:, 1:].mean(1) for v in views]), labels_M
    (train, labels), (val, val_labels) = features(args.data), features(args.val_data)
    mean, std, classes = train.mean(0), train.std(0, unbiased=False).clamp(min=1e-6), int(labels.max()) + 1
    train, val = (train - mean) / std, (val - mean) / std
    order = torch.randperm(len(train))
    held, rest = order[:len(train) // 5], order[len(train) // 5:]
    strength = max((1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
                   key=lambda s: top1(fit(train[rest], labels[rest], classes, s), train[held], labels[held]))
    return {"top1": top1(fit(train, labels, classes, strength), val, val_labels)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["tokenizer", "pretrain", "probe"])
    parser.add_argument("--output", type=Path, required=True, help="folder; what the stage before left is read there")
    parser.add_argument("--form", default="plain", choices=["plain", "sdpa", "compile", "sdpa-compile"])
    parser.add_argument("--steps", type=int, default=0, help="stop after so many; 0: the demo's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--oracle", type=Path, default=ROOT.parent / "shared/oracle", help="folder of beit2_oracle.py")
    parser.add_argument("--teacher", type=Path, default=ROOT / ".deps/teacher/efficientnet-lite2.pth")
    parser.add_argument("--data", type=Path, default=ROOT / "demo/data/cifar10-small-train.tar")
    parser.add_argument("--val-data", type=Path, default=ROOT / "demo/data/cifar10-small-test.tar")
    args = parser.parse_args()
    sys.path.insert(0, str(args.oracle))
    import beit2_oracle as oracle
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    args.config = tomllib.loads((ROOT / "configs/demo.toml").read_text())
    args.output.mkdir(parents=True, exist_ok=True)
    stage, table = {"tokenizer": (train_tokenizer, "vqkd"), "pretrain": (pretrain, "pretrain"), "probe": (probe, "probe")}[args.stage]
    print(json.dumps(stage(oracle, args.config | args.config[table], args)))


if __name__ == "__main__":
    main()

"""Writes tests/golden/segmenter.safetensors: a small segmenter stated in PyTorch, on the statement of the backbone in
../shared/oracle, and what it gives. All is computed in float64.

    python tests/python/make_segmenter_golden.py ../shared/oracle tests/golden

Images of 32x32 in patches of 4, width 16, four blocks of 2 heads, layer scale, a bias table in each block; UPerNet of 8
channels, auxiliary head of 6, 5 classes, no dropout. w.*: the network's tensors under their published names; running.*:
the running statistics after the step.

A step in train(): in.images [3, 3, 32, 32], in.labels uint8 [3, 32, 32] with 255; out.main, out.auxiliary: logits;
out.loss, out.loss_main, out.loss_auxiliary (weight 0.4), out.accuracy; grad.*.

In eval(), with the statistics of w.*: window.N.in [1, 3, height, width], window.N.out: probabilities of windows of 32
pixels, 22 apart, at the size window.N.out has; the first is wider than high and larger than a window, the second lower
than a window and no multiple of the patch, the third the mean with the mirror image, the fourth of the whole of an image.
"""
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from beit2_oracle import ViT, ViTConfig  # noqa: E402

PATCH, WINDOW, STRIDE, WIDTH, CLASSES = 4, 32, 22, 16, 5


def resize(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Backbone(ViT):
    def __init__(self):
        config = ViTConfig(image_size=WINDOW, patch_size=PATCH, dim=WIDTH, depth=4, heads=2, layer_scale=0.1, abs_pos=False,
                           rel_pos="block")
        super().__init__(config, pool="mean")
        del self.fc_norm
        self.fpn1 = nn.Sequential(nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2), nn.BatchNorm2d(WIDTH), nn.GELU(),
                                  nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2))
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2))

    def forward(self, images):
        B, _, H, W = images.shape
        x, maps = self.embed(self.patch_embed(images)), []
        for block in self.blocks:
            x = block(x)
            maps.append(x[:, 1:].transpose(1, 2).reshape(B, WIDTH, H // PATCH, W // PATCH))
        return [self.fpn1(maps[0]), self.fpn2(maps[1]), maps[2], F.max_pool2d(maps[3], 2)]


class ConvModule(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class DecodeHead(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.psp_modules = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(s), ConvModule(WIDTH, channels, 1))
                                         for s in (1, 2, 3, 6))
        self.bottleneck = ConvModule(WIDTH + 4 * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(WIDTH, channels, 1) for _ in range(3))
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3) for _ in range(3))
        self.fpn_bottleneck = ConvModule(4 * channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, CLASSES, 1)

    def forward(self, maps):
        size = [m.shape[2:] for m in maps]
        context = torch.cat([maps[3]] + [resize(part(maps[3]), size[3]) for part in self.psp_modules], 1)
        coarse = self.bottleneck(context)
        level2 = self.lateral_convs[2](maps[2]) + resize(coarse, size[2])
        level1 = self.lateral_convs[1](maps[1]) + resize(level2, size[1])
        level0 = self.lateral_convs[0](maps[0]) + resize(level1, size[0])
        levels = [conv(level) for conv, level in zip(self.fpn_convs, (level0, level1, level2))] + [coarse]
        return self.conv_seg(self.fpn_bottleneck(torch.cat([resize(level, size[0]) for level in levels], 1)))


class AuxiliaryHead(nn.Module):
    def __init__(self, channels=6):
        super().__init__()
        self.convs = nn.ModuleList([ConvModule(WIDTH, channels, 3)])
        self.conv_seg = nn.Conv2d(channels, CLASSES, 1)

    def forward(self, maps):
        return self.conv_seg(self.convs[0](maps[2]))


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.decode_head, self.auxiliary_head = Backbone(), DecodeHead(), AuxiliaryHead()

    def forward(self, images):
        maps = self.backbone(images)
        return self.decode_head(maps), self.auxiliary_head(maps)

    def scores(self, images):
        """Logits of the images' size; sides are padded to a multiple of the patch."""
        H, W = images.shape[2:]
        padded = F.pad(images, (0, -W % PATCH, 0, -H % PATCH))
        return resize(self(padded)[0], padded.shape[2:])[:, :, :H, :W]


def cross_entropy(logits, labels):
    return F.cross_entropy(resize(logits, labels.shape[1:]), labels, ignore_index=255, reduction="none").mean()


def by_windows(model, image, size):
    H, W = image.shape[2:]
    sums, counts = torch.zeros(1, CLASSES, H, W), torch.zeros(1, 1, H, W)
    for row in range(max(H - WINDOW + STRIDE - 1, 0) // STRIDE + 1):
        for column in range(max(W - WINDOW + STRIDE - 1, 0) // STRIDE + 1):
            bottom, right = min(row * STRIDE + WINDOW, H), min(column * STRIDE + WINDOW, W)
            top, left = max(bottom - WINDOW, 0), max(right - WINDOW, 0)
            sums[:, :, top:bottom, left:right] += model.scores(image[:, :, top:bottom, left:right])
            counts[:, :, top:bottom, left:right] += 1
    return resize(sums / counts, size).softmax(1)


def main(folder):
    torch.manual_seed(12)
    torch.set_default_dtype(torch.float64)
    model, tensors = Segmenter(), {}
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith(("running_mean", "relative_position_bias_table", ".bias", "cls_token")):
                tensor.normal_(std=0.2)
            elif key.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif key.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif tensor.is_floating_point():
                tensor.add_(0.15 * torch.randn_like(tensor))
            if tensor.is_floating_point():
                tensor.copy_(tensor.float())  # what the file holds
    tensors |= {"w." + key: tensor.clone() for key, tensor in model.state_dict().items()
                if not key.endswith("relative_position_index")}

    model.eval()
    with torch.no_grad():
        for number, (shape, size, mirror) in enumerate((((40, 71), (50, 87), False), ((29, 50), (29, 50), False),
                                                        ((37, 33), (41, 30), True))):
            image = torch.randn(1, 3, *shape).float().double()
            found = by_windows(model, image, size)
            if mirror:
                found = (found + by_windows(model, image.flip(3), size).flip(3)) / 2
            tensors |= {f"window.{number}.in": image, f"window.{number}.out": found}
        image = torch.randn(1, 3, 31, 32).float().double()
        tensors |= {"window.3.in": image, "window.3.out": resize(model.scores(image), (20, 40)).softmax(1)}

    model.train()
    images = torch.randn(3, 3, 32, 32).float().double()
    labels = torch.randint(CLASSES, (3, 8, 8)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[torch.rand(3, 32, 32) < 0.2] = 255
    main_logits, auxiliary_logits = model(images)
    loss_main, loss_auxiliary = cross_entropy(main_logits, labels), cross_entropy(auxiliary_logits, labels)
    loss = loss_main + 0.4 * loss_auxiliary
    loss.backward()
    right = resize(main_logits, (32, 32)).argmax(1) == labels
    tensors |= {"in.images": images, "in.labels": labels.to(torch.uint8), "out.main": main_logits,
                "out.auxiliary": auxiliary_logits, "out.loss": loss, "out.loss_main": loss_main,
                "out.loss_auxiliary": loss_auxiliary, "out.accuracy": right.sum() / (labels != 255).sum()}
    tensors |= {"grad." + key: parameter.grad for key, parameter in model.named_parameters()}
    tensors |= {"running." + key: tensor for key, tensor in model.state_dict().items() if "running" in key or "num_b" in key}
    save_file({key: (tensor.detach().float() if tensor.is_floating_point() else tensor).contiguous()
               for key, tensor in tensors.items()}, os.path.join(folder, "segmenter.safetensors"))


main(sys.argv[2])

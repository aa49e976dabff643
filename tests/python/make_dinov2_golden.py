"""Writes tests/golden/dinov2.safetensors and dinov2_swiglu.safetensors: small DINOv2 vision transformers stated in
PyTorch, and what they give; the first with register tokens, the second with SwiGLU as the giant has it.

    python tests/python/make_dinov2_golden.py tests/golden

in.images [B, 3, 10, 10] in [0, 1]; w.*: the network's tensors under their published names (5x5 patches of 2 pixels, 2
heads); out.tokens [B, 25, 12]: patch tokens after `norm`; out.tokens_small [1, 12, 12]: those of in.images_small
[1, 3, 6, 8], positions resized to 3x4. The published code resizes them so too (anti-aliased) where there are registers;
where there are none by the scale (g + 0.1) / g0, here by the size.
"""
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(x).reshape(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        a = (q * (D // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(B, T, D))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    def __init__(self, width):
        super().__init__()
        hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12, self.w3 = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x):
        x1, x2 = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(x1) * x2)


class LayerScale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, width, heads, mlp):
        super().__init__()
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(width, eps=1e-6), Attention(width, heads), LayerScale(width)
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(width, eps=1e-6), mlp(width), LayerScale(width)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class DinoV2(nn.Module):
    def __init__(self, mlp, registers, grid=5, patch=2, width=12, depth=2, heads=2):
        super().__init__()
        self.grid, self.registers = grid, registers
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, grid**2 + 1, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, width)) if registers else None
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def positions(self, size):
        if size == (self.grid, self.grid):
            return self.pos_embed
        patches = self.pos_embed[:, 1:].reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        patches = F.interpolate(patches, size=size, mode="bicubic", antialias=self.registers > 0)
        return torch.cat([self.pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], 1)

    def forward(self, images):
        x = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        x = self.patch_embed.proj(x)
        size, x = tuple(x.shape[-2:]), x.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.positions(size)
        if self.registers:
            x = torch.cat([x[:, :1], self.register_tokens.expand(x.shape[0], -1, -1), x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1 + self.registers:]


@torch.no_grad()
def main(folder):
    torch.manual_seed(8)
    for name, mlp, registers in (("dinov2", Mlp, 3), ("dinov2_swiglu", SwiGlu, 0)):
        model = DinoV2(mlp, registers).eval()
        for key, parameter in model.named_parameters():
            parameter.normal_(std=0.3)
            if "norm" in key and key.endswith("weight"):
                parameter.add_(1)
        images, small = torch.rand(2, 3, 10, 10), torch.rand(1, 3, 6, 8)
        tensors = {"in.images": images, "in.images_small": small, "out.tokens": model(images), "out.tokens_small": model(small)}
        tensors |= {"w." + key: tensor for key, tensor in model.state_dict().items()}
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, os.path.join(folder, name + ".safetensors"))


main(sys.argv[1])

"""Writes tests/golden/dino.safetensors: a small DINO vision transformer stated in PyTorch, and what it gives.

    python tests/python/make_dino_golden.py tests/golden/dino.safetensors

in.images [B, 3, 16, 16] in [0, 1]; w.*: the network's tensors under their published names (2 heads);
out.tokens [B, 16, 24]: patch tokens after `norm`; out.tokens_24: those of in.images_24, positions resized to 6x6.
"""
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
        a = (q @ k.transpose(-2, -1) * (D // self.heads) ** -0.5).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width, eps=1e-6), Attention(width, heads), nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class Dino(nn.Module):
    def __init__(self, grid=4, patch=4, width=24, depth=2, heads=2):
        super().__init__()
        self.grid = grid
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, grid**2 + 1, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images):
        x = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        x = self.patch_embed.proj(x)
        position = self.pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, self.grid, self.grid)
        if x.shape[-1] != self.grid:
            position = F.interpolate(position, size=x.shape[-2:], mode="bicubic", align_corners=False)
        x = (x + position).flatten(2).transpose(1, 2)
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:]


@torch.no_grad()
def main(path):
    torch.manual_seed(5)
    model = Dino().eval()
    for name, parameter in model.named_parameters():
        parameter.normal_(std=0.3)
        if "norm" in name and name.endswith("weight"):
            parameter.add_(1)
    images, images_24 = torch.rand(2, 3, 16, 16), torch.rand(1, 3, 24, 24)
    tensors = {"in.images": images, "in.images_24": images_24, "out.tokens": model(images), "out.tokens_24": model(images_24)}
    tensors |= {"w." + name: tensor for name, tensor in model.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


main(sys.argv[1])

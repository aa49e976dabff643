#!/usr/bin/env python3
"""A base-size checkpoint in PyTorch's zip form (425 MB), opened and copied into a module: `beit bench open` beside
torch.load(mmap=True) and load_state_dict(), in turn, several rounds, so that a machine that grows slow slows both.

Wants a Python with PyTorch (`make setup-python`). Prints the median milliseconds of both, the median of the rounds'
ratios (above 1: PyTorch takes longer) and the largest memory of each process.
"""
import argparse
import json
import os
import resource
import sys
import tempfile
import time
from statistics import median

import torch

from compare import ROOT, printed_json


def block(width=768):
    return {"norm1.weight": (width,), "norm1.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
            "gamma_1": (width,), "gamma_2": (width,), "attn.q_bias": (width,), "attn.v_bias": (width,), "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width), "attn.proj.bias": (width,), "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,), "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,)}


def shapes(width=768):
    """Of the pre-training model of base size."""
    found = {"cls_token": (1, 1, width), "mask_token": (1, 1, width), "patch_embed.proj.weight": (width, 3, 16, 16),
             "patch_embed.proj.bias": (width,), "rel_pos_bias.relative_position_bias_table": (732, 12),
             "norm.weight": (width,), "norm.bias": (width,), "lm_head.weight": (8192, width), "lm_head.bias": (8192,)}
    for prefix in [f"blocks.{i}" for i in range(12)] + [f"cls_pt_layers.{i}" for i in range(2)]:
        found |= {f"{prefix}.{name}": shape for name, shape in block().items()}
    return found


def module(tensors):
    """A tree of modules with these parameters."""
    tree = torch.nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        inner = tree
        for part in path:
            if not hasattr(inner, part):
                inner.add_module(part, torch.nn.Module())
            inner = getattr(inner, part)
        inner.register_parameter(last, torch.nn.Parameter(torch.zeros_like(tensor)))
    return tree


def time_torch(path, steps, threads):
    torch.set_num_threads(threads)
    target = module(torch.load(path, mmap=True, weights_only=True))
    taken = []
    for step in range(steps + 2):  # two that warm up
        start = time.perf_counter()
        target.load_state_dict(torch.load(path, mmap=True, weights_only=True))
        taken.append(time.perf_counter() - start)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"median_s": median(taken[2:]), "peak_mib": peak_mib}))


def ours(path, args):
    run = printed_json([args.program, "bench", "open", f"--weights={path}", f"--steps={args.steps}",
                        f"--threads={args.threads}"])
    return run["median_s"], run["peak_mib"]


def theirs(path, args):
    run = printed_json([sys.executable, __file__, "--time-torch", path, f"--steps={args.steps}",
                        f"--threads={args.threads}"])
    return run["median_s"], run["peak_mib"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="timed loads of each run, after two that warm up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", default=str(ROOT / "build/release/beit"))
    parser.add_argument("--time-torch", metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.time_torch:
        return time_torch(args.time_torch, args.steps, args.threads)

    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/base.pth"
        torch.manual_seed(0)
        torch.save({name: torch.randn(shape) for name, shape in shapes().items()}, path)
        rounds = [(ours(path, args), theirs(path, args)) for _ in range(args.rounds)]
    print(f"{'ours ms':>10}{'PyTorch ms':>12}{'ratio':>8}{'ours MiB':>10}{'PyTorch MiB':>13}")
    print(f"{1e3 * median(o[0] for o, t in rounds):>10.1f}{1e3 * median(t[0] for o, t in rounds):>12.1f}"
          f"{median(t[0] / o[0] for o, t in rounds):>8.2f}{max(o[1] for o, t in rounds):>10.0f}"
          f"{max(t[1] for o, t in rounds):>13.0f}")


if __name__ == "__main__":
    main()

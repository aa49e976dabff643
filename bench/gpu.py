#!/usr/bin/env python3
"""Steps on a GPU in bf16, ours beside PyTorch's: run on the machine that has it, a few minutes.

    python3 bench/gpu.py --oracle FOLDER [--program build/release/beit] [--batches 64 128 256] [--pairs 3]

Both sides train on random images with autocast to bf16 and the fused AdamW, PyTorch with scaled_dot_product_attention,
eager and compiled. A pair is a run of each side, one after the other: two steps that do not count, then ten, each timed
to its end on the device; their median is the run's figure. Prints the card's rates and a table, and writes
bench/gpu.json: entries as compare.py describes them, with `batch`, `device`, images a second of both sides, peak memory
on the device and `share`: what the products of our step would take at the card's measured rate, over what the step takes.
"""
import argparse
import gc
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

import compare

STEPS = 10
D, PATCHES, MASKED, CODES, CODE_WIDTH, TEACHER = 768, 196, 75, 8192, 32, 512
T = PATCHES + 1


# What the products of a step of ours cost, in multiplications with addition, an image. Counted from shapes, nothing twice:
# what the backward pass of fused attention computes again is left out.

def block(queries=T):
    """A block's forward pass, which computes for `queries` tokens all that no other token reads: linear, attention."""
    return T * 2 * D * D + queries * 10 * D * D, 2 * queries * T * D


def blocks(full, last_queries, passes):
    """`passes`: 1 forward; 3 with the gradients of inputs and weights, which in attention are four products to its two."""
    parts = [block()] * full + [block(queries) for queries in last_queries]
    return passes * sum(sum(part) for part in parts)


def tokenizer():
    return PATCHES * D * D + blocks(11, [MASKED], 1) + MASKED * (D * D + D * CODE_WIDTH + CODE_WIDTH * CODES)


def mim():
    """Images want no gradient, so that the patch embedding is multiplied twice, not three times."""
    return (tokenizer() + 2 * PATCHES * D * D + blocks(11 + 1, [MASKED + 1, MASKED], 3)
            + 3 * 2 * MASKED * D * CODES)


def tokenize():
    return PATCHES * D * D + blocks(12, [], 1) + PATCHES * (D * D + D * CODE_WIDTH + CODE_WIDTH * CODES)


def vqkd():
    teacher = PATCHES * D * D + blocks(12, [], 1) + PATCHES * D * TEACHER
    encoder = 2 * PATCHES * D * D + blocks(12, [], 3) + 3 * PATCHES * (D * D + D * CODE_WIDTH)
    decoder = 3 * PATCHES * CODE_WIDTH * D + blocks(3, [], 3) + 3 * PATCHES * (D * D + D * TEACHER)
    return teacher + encoder + PATCHES * CODE_WIDTH * CODES + decoder


PRODUCTS = {"mim": mim, "vqkd": vqkd, "tokenize": tokenize}


def rate(m, k, n, times=20):
    """Operations a second of a product of random numbers in bf16: the median of `times`."""
    a, b = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for shape in ((m, k), (k, n)))
    seconds = []
    for i in range(times + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        a @ b
        end.record()
        end.synchronize()
        if i >= 3:
            seconds.append(begin.elapsed_time(end) / 1000)
    return 2 * m * k * n / median(seconds)


# PyTorch's side.

def autocast():
    return torch.autocast("cuda", torch.bfloat16)


def training(model, objective, compiled):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(objective) if compiled else objective

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = run()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
    return step


def theirs(oracle, case, batch, compiled):
    """A step of the statement's modules, on the device."""
    images = torch.rand(batch, 3, 224, 224)
    if case == "vqkd":
        model = oracle.vqkd_base(3, oracle.ClipVisual().eval(), "sdpa").train()
        return training(model, lambda: model(images)[0], compiled)
    tokens = oracle.vqkd_base(3, None, "sdpa").eval()
    codes = torch.compile(tokens.codes) if compiled else tokens.codes
    if case == "mim":
        model = oracle.mim_base("sdpa").train()
        mask = torch.zeros(batch, PATCHES, dtype=torch.bool).scatter_(
            1, torch.rand(batch, PATCHES).argsort(1)[:, :MASKED], True)
        return training(model, lambda: oracle.mim_loss(model, images, mask, codes(images)), compiled)

    def step():
        with torch.no_grad(), autocast():
            codes(images)
    return step


class Theirs:
    """Runs a form of PyTorch's; what a case needs is made once and is gone with this object."""

    def __init__(self, oracle, case, batch, compiled):
        with torch.device("cuda"):
            self.step = theirs(oracle, case, batch, compiled)
        self.warm = False

    def run(self):
        """Median seconds of a step and the device's peak memory in MiB."""
        torch.cuda.reset_peak_memory_stats()
        seconds = []
        for i in range(STEPS + 2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            self.step()
            torch.cuda.synchronize()
            if i >= 2:
                seconds.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() >> 20
        torch.cuda.empty_cache()  # ours is to have it
        return median(seconds), peak


def ours(args, case, batch):
    line = compare.printed_json([args.program, "bench", case, "--device", "cuda", "--precision", "bf16", "--batch", batch,
                                 "--steps", STEPS])
    return line["median_s"], line["peak_mib"]


def case_entries(args, oracle, case, batch, peak_rate, forms):
    """One entry for each form of PyTorch's that runs."""
    found, taken = [], []
    for form, compiled in forms.items():
        torch.manual_seed(0)
        try:
            side = Theirs(oracle, case, batch, compiled)
            start = time.perf_counter()
            side.run()
            print(f"{case}, {batch} images: PyTorch {form} runs after {time.perf_counter() - start:.0f} s", flush=True)
            pairs = [(ours(args, case, batch), side.run()) for _ in range(args.pairs)]
        except (RuntimeError, compare.Failure) as error:
            print(f"{case}, {batch} images: PyTorch {form} is left out: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        finally:
            side = None
            gc.collect()
            torch.cuda.empty_cache()
        own, other = [[pair[i][0] for pair in pairs] for i in range(2)]
        found.append(compare.entry(
            f"{case}, {batch} images", form, own, other, form=form, batch=batch, device=torch.cuda.get_device_name(),
            ours_images_per_s=batch / median(own), theirs_images_per_s=batch / median(other),
            ours_peak_mib=pairs[0][0][1], theirs_peak_mib=pairs[0][1][1],
            share=2 * PRODUCTS[case]() * batch / peak_rate / median(own)))
    return found


def table(entries):
    rows = [["case", "against", "ours", "PyTorch", "ratio", "of pairs", "images/s", "PyTorch", "MiB", "PyTorch", "share"]]
    for one in entries:
        rows.append([one["case"], one["against"], f"{one['ours_s'] * 1000:.1f} ms", f"{one['theirs_s'] * 1000:.1f} ms",
                     f"{one['ratio']:.2f}", f"{one['least']:.2f} to {one['most']:.2f} of {one['pairs']}",
                     f"{one['ours_images_per_s']:.0f}", f"{one['theirs_images_per_s']:.0f}", str(one["ours_peak_mib"]),
                     str(one["theirs_peak_mib"]), f"{one['share']:.0%}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def main(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", type=Path, default=compare.ROOT.parent / "shared/oracle", help="folder of the statement")
    parser.add_argument("--program", type=Path, default=compare.ROOT / "build/release/beit")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256], help="images a step of mim")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=compare.BENCH / "gpu.json")
    args = parser.parse_args(words)
    if not torch.cuda.is_available():
        raise compare.Failure("expected a GPU, found none")
    if not (args.oracle / "beit2_oracle.py").exists():
        raise compare.Failure(f"expected {args.oracle / 'beit2_oracle.py'}, got none; set --oracle FOLDER")
    sys.path.insert(0, str(args.oracle))
    import beit2_oracle as oracle

    peak_rate = rate(8192, 8192, 8192)
    rows = 128 * T
    shapes = {"8192^3": (8192, 8192, 8192), "qkv": (rows, D, 3 * D), "proj": (rows, D, D), "fc1": (rows, D, 4 * D),
              "fc2": (rows, 4 * D, D), "head": (128 * MASKED, D, CODES)}
    print(torch.cuda.get_device_name(), *(f"{name} {rate(*shape) / 1e12:.0f} TFLOP/s" for name, shape in shapes.items()),
          sep=", ", flush=True)
    eager, both = {"eager": False}, {"eager": False, "compiled": True}
    work = [("mim", 128, both)] + [("mim", batch, eager) for batch in args.batches if batch != 128]
    entries = []
    for case, batch, forms in work + [("tokenize", 128, eager), ("vqkd", 128, eager)]:
        entries += case_entries(args, oracle, case, batch, peak_rate, forms)
        args.output.write_text(json.dumps(entries, indent=1) + "\n")
    print(table(entries))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except compare.Failure as failure:
        sys.exit(f"gpu: error: {failure}")

#!/usr/bin/env python3
"""How our time grows with tokens, codes and threads: bench/growth.json, and bench/growth.svg by `beit curves`.

    python3 bench/growth.py [--steps 3] [--only tokens|codes|threads]

Images a second on random images, base size, batch 4: tokenize and mim from 64 to 1024 tokens an image (128 to 512
pixels) with all threads; the quantizer's training step, 64 images, from 1024 to 65536 codes; and all three with 1, 2, 4
... threads.
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from compare import BENCH, ROOT, Failure, printed_json, run, this_machine

SIDES = [8, 12, 16, 20, 24, 28, 32]  # patches; squared: tokens
CODES = [1024 << i for i in range(7)]
BATCH = {"tokenize": 4, "mim": 4, "quantizer": 64}
AXES = ["tokens", "codes", "threads"]


def thread_counts(cores):
    return [1 << i for i in range(cores.bit_length()) if 1 << i < cores] + [cores]


def plan(cores):
    """(axis, case, value on the axis, words of `beit bench`)"""
    for case in ("tokenize", "mim"):
        for side in SIDES:
            yield "tokens", case, side * side, ["--image-size", 16 * side, "--threads", cores]
    for codes in CODES:
        yield "codes", "quantizer", codes, ["--codes", codes, "--threads", cores]
    for case in BATCH:
        for threads in thread_counts(cores):
            yield "threads", case, threads, ["--threads", threads]


def to_csv(points, machine):
    """As `beit curves` reads it: one run, a panel for each case and axis."""
    lines = ["run,figure,step,value"]
    lines += [f'"{machine}",images/s of {one["case"]} by {one["axis"]},{one["value"]},{one["images_per_s"]}'
              for one in points]
    return "\n".join(lines) + "\n"


def labelled(svg, axes):
    """`beit curves` calls what goes to the right a step; here it is each panel's axis, in the order of the panels."""
    first, *rest = svg.split(">step<")
    if len(rest) != len(axes):
        raise Failure(f"expected a picture of {len(axes)} panels, got {len(rest)}")
    svg = first + "".join(f">{axis}<{text}" for axis, text in zip(axes, rest))
    for axis in AXES:
        svg = svg.replace(f" by {axis} over step:", f" by {axis}:")
    return svg


def draw(program, points, machine, path):
    panels = dict.fromkeys((one["axis"], one["case"]) for one in points)
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder) / "growth.csv"
        csv.write_text(to_csv(points, machine))
        run([program, "curves", csv, "--output", path])
    path.write_text(labelled(path.read_text(), [axis for axis, _ in panels]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each point, after two that warm up")
    parser.add_argument("--only", choices=AXES)
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/beit")
    parser.add_argument("--output", type=Path, default=BENCH / "growth", help="without .json and .svg")
    args = parser.parse_args()
    points = []
    for axis, case, value, words in plan(os.cpu_count()):
        if args.only not in (None, axis):
            continue
        line = printed_json([args.program, "bench", case, "--batch", BATCH[case], "--steps", args.steps, *words])
        points.append({"axis": axis, "case": case, "value": value, **{key: line[key] for key in (
            "batch", "threads", "median_s", "min_s", "images_per_s", "peak_mib")}})
        print(f"{case}, {value} {axis}: {line['images_per_s']:.2f} images/s, {line['peak_mib']} MiB", flush=True)
    machine = this_machine()[0]
    results = {"machine": machine, "points": points}
    args.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    draw(args.program, points, machine, args.output.with_suffix(".svg"))


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"growth: error: {failure}")

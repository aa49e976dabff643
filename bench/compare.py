#!/usr/bin/env python3
"""beit_bench beside PyTorch: the same cases in turn, several rounds, so that a machine that grows slow slows both.

Wants the oracle's bench.py (by default in ../shared/oracle) and a Python with PyTorch (`make setup-python`).
Prints, for each case, the median seconds a step of both, the median of the rounds' ratios (above 1: PyTorch takes
longer) and the largest memory of each process.
"""
import argparse
import json
import os
import subprocess
from pathlib import Path
from statistics import median

root = Path(__file__).resolve().parent.parent


def printed_json(command, cwd=None):
    return json.loads(subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout)


def ours(case, args, batch, threads, steps):
    """Median seconds a step, MiB, and microseconds an image by stage."""
    run = printed_json([args.program, f"--benchmark_filter=^{case}/", f"--benchmark_repetitions={steps}",
                        "--benchmark_report_aggregates_only=false", "--benchmark_format=json",
                        f"--batch-size={batch}", f"--images={args.images}", f"--threads={threads}"])
    timed = [step for step in run["benchmarks"] if step["run_type"] == "iteration"]
    assert len(timed) == steps and timed[0]["time_unit"] == "ms"
    stages = {name[:-3]: median(step[name] for step in timed) for name in timed[0] if name.endswith("_us")}
    return median(step["real_time"] for step in timed) / 1e3, max(step["peak_mib"] for step in timed), stages


def theirs(case, args, batch, threads, steps):
    """Median seconds a step, and MiB."""
    case = "load" if case == "load_exact" else case
    best = ["--attention", "sdpa", "--compile"] if args.best else []
    run = printed_json([args.python, "bench.py", "--case", case, "--batch", str(batch), "--steps", str(steps),
                        "--threads", str(threads), "--images", args.images, *best], cwd=args.oracle)
    return run["median_s"], run["peak_mib"]


def main():
    images = root.parent / "shared/data/imagenet-sample"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["vqkd", "mim", "tokenize", "load"],
                        help="of vqkd mim tokenize small load load_exact; default: all but small and load_exact")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int,
                        help="timed steps of each run, after two that warm up; default: 3, load and load_exact 13, "
                        "to the end of an epoch of 500 images")
    parser.add_argument("--batch", type=int, default=8, help="images a step; load and load_exact take 32")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="load and load_exact take 1")
    parser.add_argument("--best", action="store_true", help="PyTorch with fused attention and torch.compile")
    parser.add_argument("--program", default=str(root / "build/release/bench/beit_bench"))
    parser.add_argument("--python", default=str(root / ".deps/python/bin/python"))
    parser.add_argument("--oracle", default=str(root.parent / "shared/oracle"), help="folder of bench.py")
    parser.add_argument("--images", default=str(images), help="folder of images, for load")
    args = parser.parse_args()

    print(f"{'case':<10}{'ours s':>10}{'PyTorch s':>11}{'ratio':>8}{'ours MiB':>10}{'PyTorch MiB':>13}", flush=True)
    for case in args.cases:
        loads = case.startswith("load")
        setting = (32, 1, args.steps or 13) if loads else (args.batch, args.threads, args.steps or 3)
        rounds = [(ours(case, args, *setting), theirs(case, args, *setting)) for _ in range(args.rounds)]
        print(f"{case:<10}{median(o[0] for o, t in rounds):>10.4f}{median(t[0] for o, t in rounds):>11.4f}"
              f"{median(t[0] / o[0] for o, t in rounds):>8.2f}{max(o[1] for o, t in rounds):>10.0f}"
              f"{max(t[1] for o, t in rounds):>13.0f}", flush=True)
        stages = rounds[0][0][2]
        if stages:
            print("  microseconds an image: " + ", ".join(
                f"{name} {median(o[2][name] for o, t in rounds):.0f}" for name in stages), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Minutes from images to a stated linear accuracy: the demo by our program, and the same in PyTorch.

Runs tokenizer, pre-training and linear probe of configs/demo.toml, each a process, ours and PyTorch's (bench/demo_torch.py)
in turn. The same images, sizes, schedule, steps and probe; each side computes the teacher's features once. Both must reach
the stated accuracy. `best` tries PyTorch's forms for a few steps and takes, stage by stage, the one whose whole stage,
compilation included, is shortest. Adds its entry to bench/results.json.

    accuracy.py                  a pair of whole runs (about 20 minutes on two cores)
    accuracy.py --steps 20       no more than so many steps of each training: seconds a step, and the minutes to expect

`training` is both trainings with what they read and the teacher's features; `all` is from images to the probe's figure.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from compare import ROOT, entry, write_results

FORMS = ["plain", "sdpa", "compile", "sdpa-compile"]
STAGES = ["tokenizer", "pretrain", "probe"]
BARS = {"plain": 2, "best": 1.5}
TRIAL_STEPS = 8


def wall_s(command):
    """Seconds of the process, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - start, done.stdout


def expected_s(wall, taken, figures):
    """Of a whole stage, from a run of `taken` steps; 0: it was whole."""
    return wall + (figures["steps"] - taken) * figures["step_s"] if taken and "steps" in figures else wall


def images(args):
    return ["--data", str(args.data), "--val-data", str(args.val_data)]


def our_stage(stage, folder, args):
    """Seconds, and figures as bench/demo_torch.py prints them."""
    command = [args.program, {"tokenizer": "vqkd"}.get(stage, stage), "--config", "configs/demo.toml", *images(args),
               "--threads", str(args.threads), "--seed", str(args.seed), "--quiet"]
    run = folder / stage
    if stage == "probe":
        wall, _ = wall_s([*command, "--weights", str(folder / "pretrain"), "--json", str(folder / "probe.json")])
        return wall, {"top1": json.loads((folder / "probe.json").read_text())["linear_top1"]}
    if stage == "tokenizer":
        command += ["--teacher", "efficientnet-lite", "--teacher-weights", str(args.teacher),
                    "--teacher-cache", str(folder / "teacher.safetensors")]
    else:
        command += ["--tokenizer", str(folder / "tokenizer")]
    if args.steps:
        command += ["--steps", str(args.steps), "--log-every", str(max(1, args.steps // 4))]
    wall, _ = wall_s([*command, "--output", str(run)])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    start = next(line for line in lines if line.get("event") == "start")
    rates = [line["images_per_s"] for line in lines if "images_per_s" in line][1:]  # the first is of the first step
    return wall, {"step_s": start["batch_size"] / median(rates), "steps": start["epochs"] * start["steps_per_epoch"]}


def their_stage(stage, folder, args, form, steps):
    wall, printed = wall_s([args.python, "bench/demo_torch.py", stage, "--output", str(folder), "--form", form, "--steps",
                            str(steps), "--seed", str(args.seed), "--threads", str(args.threads), "--oracle",
                            str(args.oracle), "--teacher", str(args.teacher), *images(args)])
    return wall, json.loads(printed.splitlines()[-1])


def best_forms(args):
    """PyTorch's shortest form of each training; the probe is always plain."""
    chosen = {"probe": "plain"}
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES[:2]:
            whole = {}
            for form in FORMS:
                wall, figures = their_stage(stage, Path(folder), args, form, TRIAL_STEPS)
                whole[form] = expected_s(wall, TRIAL_STEPS, figures)
            chosen[stage] = min(whole, key=whole.get)
            print(f"{stage}: " + ", ".join(f"{form} {s / 60:.1f} min" for form, s in whole.items()), flush=True)
    return chosen


def run(side, args, forms):
    """Minutes by stage, and the accuracy."""
    minutes, accuracy = {}, None
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            wall, figures = (our_stage(stage, Path(folder), args) if side == "ours" else
                             their_stage(stage, Path(folder), args, forms[stage], args.steps))
            minutes[stage] = expected_s(wall, args.steps, figures) / 60
            accuracy = figures.get("top1", accuracy)
            step = f", {1e3 * figures['step_s']:.1f} ms a step" if "step_s" in figures else f", top-1 {accuracy:.1f}%"
            print(f"{side:<8}{stage:<10}{minutes[stage]:>7.2f} min{step}", flush=True)
    minutes["training"] = minutes["tokenizer"] + minutes["pretrain"]
    minutes["all"] = minutes["training"] + minutes["probe"]
    return minutes, accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="plain", choices=list(BARS))
    parser.add_argument("--accuracy", type=float, default=42.5,
                        help="linear top-1 in percent that both must reach; default: the README's figure less its spread")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="of each training; 0: the demo's. Nothing is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", default=str(ROOT / "build/release/beit"))
    parser.add_argument("--python", default=str(ROOT / ".deps/python/bin/python"))
    parser.add_argument("--oracle", type=Path, default=ROOT.parent / "shared/oracle", help="folder of beit2_oracle.py")
    parser.add_argument("--teacher", type=Path, default=ROOT / ".deps/teacher/efficientnet-lite2.pth")
    parser.add_argument("--data", type=Path, default=ROOT / "demo/data/cifar10-small-train.tar", help="CLASS/NAME in it")
    parser.add_argument("--val-data", type=Path, default=ROOT / "demo/data/cifar10-small-test.tar")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results.json")
    args = parser.parse_args()
    if args.steps and args.steps < 4:
        parser.error("expected --steps of at least 4, or 0")

    forms = best_forms(args) if args.against == "best" else dict.fromkeys(STAGES, "plain")
    pairs = [(run("ours", args, forms), run("PyTorch", args, forms)) for _ in range(args.pairs)]
    for part in [*STAGES, "training", "all"]:
        ours, theirs = (median(pair[side][0][part] for pair in pairs) for side in (0, 1))
        ratio = median(t[0][part] / o[0][part] for o, t in pairs)
        print(f"{part:<10}{ours:>8.2f} min{theirs:>8.2f} min  ratio {ratio:.2f}")
    accuracy = [min(pair[side][1] for pair in pairs) for side in (0, 1)]
    print(f"linear top-1: ours {accuracy[0]:.1f}%, PyTorch {accuracy[1]:.1f}%" + (", minutes as expected" if args.steps else ""))
    if args.steps:
        return
    if min(accuracy) < args.accuracy:
        sys.exit(f"accuracy.py: expected both to reach {args.accuracy}%; nothing written; try another --seed")
    minutes = [[pair[side][0]["all"] for pair in pairs] for side in (0, 1)]
    form = "plain" if args.against == "plain" else ", ".join(f"{stage} {form}" for stage, form in forms.items())
    found = entry("accuracy", args.against, *minutes, bar=BARS[args.against], unit="min", form=form,
                  accuracy_ours=round(accuracy[0], 2), accuracy_theirs=round(accuracy[1], 2))
    write_results(args.results, [found])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What users wait for, ours beside PyTorch: `make bench`. bench/README.md says what is measured and how.

    python3 bench/compare.py [CASE ...] [--pairs 7] [--bf16]

Prints a table and writes bench/results.json: a list of objects with `case`, `against` (plain: PyTorch as users write
it; best: the fastest of its forms, which `form` names; floor: the step's matrix products alone), `ratio` (median of the
pairs' ratios; above 1 we are faster or smaller), `least` and `most` of them, `pairs`, `bar`, `goal` (null without),
medians of both sides (`ours_s` and `theirs_s`, or `ours_mib` and `theirs_mib`) and `machine`. Entries of other cases
stay, where they are of the same machine.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
FORMS = {"sdpa": ["--attention", "sdpa"], "sdpa, compiled": ["--attention", "sdpa", "--compile"],
         "plain, compiled": ["--compile"], "plain": []}


class Failure(Exception):
    """One line for the user."""


@dataclass(frozen=True)
class Timed:
    """A case that both programs know by one name. `bars`: against -> (bar, goal)."""
    case: str
    batch: int
    bars: dict
    steps: int = 2
    words: list = field(default_factory=list)
    bf16: bool = False


TIMED = {
    "mim": Timed("mim", 4, {"plain": (1.13, 1.20), "best": (1.06, None), "floor": (None, 1 / 1.02)}),
    "vqkd": Timed("vqkd", 4, {"plain": (1.10, None), "best": (1.03, None), "floor": (None, 1 / 1.08)}),
    "classify": Timed("classify", 4, {"plain": (1.18, None), "best": (1.10, None)}, words=["--drop-path", "0.2"]),
    "tokenize": Timed("tokenize", 4, {"plain": (1.10, None), "best": (1.00, None), "floor": (None, 1 / 1.05)}, steps=5),
    "quantizer": Timed("quantizer", 64, {"plain": (10, None)}, steps=5),
    "small": Timed("small", 128, {"plain": (2, None), "best": (1.5, None)}, steps=10),
}
TIMED_BF16 = {
    "mim-bf16": Timed("mim", 4, {"plain": (None, None), "best": (None, None)}, bf16=True),
    "tokenize-bf16": Timed("tokenize", 4, {"plain": (None, None), "best": (None, None)}, steps=5, bf16=True),
}
MEMORY_CASES, MEMORY_BATCH, MEMORY_BARS = ("mim", "vqkd", "classify"), 16, {"plain": 1 / 0.75, "best": 1 / 0.9}
QUANTIZER_MEMORY_BAR = 10
ONE_IMAGE_BARS = {"plain": 3, "best": None}
LOAD_BATCH, LOAD_BATCHES = 32, 13  # to the end of an epoch of 500 images, of which two batches warm up


# What becomes of the figures.

def entry(case, against, ours, theirs, bar=None, goal=None, unit="s", **more):
    """`ours` and `theirs`: one figure a pair, in the order of the pairs."""
    ratios = [t / o for o, t in zip(ours, theirs, strict=True)]
    return {"case": case, "against": against, "ratio": median(ratios), "least": min(ratios), "most": max(ratios),
            "pairs": len(ratios), "bar": bar, "goal": goal, f"ours_{unit}": median(ours),
            f"theirs_{unit}": median(theirs), **more}


def merged(old, new, machine):
    """The new entries, and the old ones of the same machine that they do not replace, in the order of the old."""
    key = lambda one: (one["case"], one["against"])
    fresh = {key(one): {**one, "machine": machine} for one in new}
    kept = [fresh.pop(key(one), one) for one in old if one.get("machine") == machine or key(one) in fresh]
    return kept + list(fresh.values())


def verdict(one):
    said = [f"{name} {'met' if one['ratio'] >= one[name] else 'MISSED'}" for name in ("bar", "goal") if one.get(name)]
    return ", ".join(said)


def figure(one, side):
    for unit, digits in (("s", 4), ("mib", 0), ("min", 1)):
        if f"{side}_{unit}" in one:
            return f"{one[f'{side}_{unit}']:.{digits}f} {'MiB' if unit == 'mib' else unit}"
    return "-"


def table(entries):
    """Lines of Markdown, aligned."""
    rows = [["case", "against", "ours", "PyTorch", "ratio", "of pairs", "bar", "goal", ""]]
    for one in entries:
        form = one["against"] + (f" ({one['form']})" if one.get("form", one["against"]) != one["against"] else "")
        spread = f"{one['least']:.2f} to {one['most']:.2f} of {one['pairs']}" if "least" in one else str(one["pairs"])
        number = lambda name: f"{one[name]:.2f}" if one.get(name) else ""
        rows.append([one["case"] + (f" ({one['worst']})" if "worst" in one else ""), form, figure(one, "ours"),
                     figure(one, "theirs"), f"{one['ratio']:.2f}", spread, number("bar"), number("goal"), verdict(one)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


# How figures are taken.

def run(command, cwd=None):
    """What the command prints, and the seconds that it took."""
    start = time.perf_counter()
    try:
        done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure(f"expected a program to run, got none at {command[0]} ({error.strerror})") from None
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise Failure(f"`{' '.join(str(word) for word in command)}` ended with {done.returncode}: {last}")
    return done.stdout, seconds


def printed_json(command, cwd=None):
    out = run(command, cwd)[0]
    try:
        return json.loads(out)
    except ValueError:
        raise Failure(f"`{command[0]} {command[1]}`: expected one JSON object, got '{out[:60]}'") from None


class Machine:
    """The two programs, and the settings that all runs share."""

    def __init__(self, args):
        self.args = args
        self.chosen = {}  # case -> name of PyTorch's fastest form

    def ours(self, timed, **other):
        batch, steps = other.get("batch", timed.batch), other.get("steps", timed.steps)
        return printed_json([self.args.program, "bench", timed.case, "--batch", batch, "--steps", steps, "--threads",
                             self.args.threads, *timed.words, *(["--precision", "bf16"] if timed.bf16 else [])])

    def theirs(self, timed, form, **other):
        batch, steps = other.get("batch", timed.batch), other.get("steps", timed.steps)
        case, words = (f"floor-{timed.case}", []) if form == "floor" else (timed.case, FORMS[form] + timed.words)
        return printed_json([self.args.python, "bench.py", "--case", case, "--batch", batch, "--steps", steps, "--threads",
                             self.args.threads, *words, *(["--bf16"] if timed.bf16 else [])], cwd=self.args.oracle)

    def best_form(self, name, timed):
        """Each form once; those that fail here (no compiler, say) are left out."""
        if name not in self.chosen:
            seconds = {}
            for form in FORMS:
                try:
                    seconds[form] = self.theirs(timed, form)["median_s"]
                except Failure as failure:
                    print(f"{name}: PyTorch's form '{form}' is left out: {failure}", file=sys.stderr)
            if not seconds:
                raise Failure(f"{name}: no form of PyTorch runs")
            self.chosen[name] = min(seconds, key=seconds.get)
            tried = ", ".join(f"{form} {s:.3f} s" for form, s in seconds.items())
            print(f"{name}: PyTorch's forms, once each: {tried}", flush=True)
        return self.chosen[name]


def in_turn(sides, pairs):
    """{name: figures}, each side once a round, every second round in the other order."""
    figures = {name: [] for name in sides}
    for i in range(pairs):
        for name in list(sides)[::-1 if i % 2 else 1]:
            figures[name].append(sides[name]())
    return figures


def time_steps(name, timed, machine, pairs):
    forms = {against: machine.best_form(name, timed) if against == "best" else against for against in timed.bars}
    sides = {"ours": lambda: machine.ours(timed)["median_s"]}
    for form in forms.values():
        sides[form] = lambda form=form: machine.theirs(timed, form)["median_s"]
    taken = in_turn(sides, pairs)
    return [entry(name, against, taken["ours"], taken[form], *timed.bars[against], form=form)
            for against, form in forms.items()]


def memory(machine):
    """The worst of the training commands, in each process's largest resident memory."""
    found = []
    for name in MEMORY_CASES:
        timed = TIMED[name]
        ours = machine.ours(timed, batch=MEMORY_BATCH, steps=1)["peak_mib"]
        for against, bar in MEMORY_BARS.items():
            form = machine.best_form(name, timed) if against == "best" else against
            theirs = machine.theirs(timed, form, batch=MEMORY_BATCH, steps=1)["peak_mib"]
            found.append(entry("memory", against, [ours], [theirs], bar, unit="mib", form=form, worst=name))
            print(f"memory: {name}, {MEMORY_BATCH} images: {ours} MiB, PyTorch {theirs} ({form})", flush=True)
    return [min((one for one in found if one["against"] == against), key=lambda one: one["ratio"])
            for against in MEMORY_BARS]


def quantizer_memory(machine):
    """What a step takes beyond what the process had before it, in MiB, at least 1."""
    timed, args = TIMED["quantizer"], machine.args
    extra = lambda line: max(1, line["peak_mib"] - line["start_mib"])
    theirs = printed_json([args.python, BENCH / "baseline.py", args.oracle, "extra-memory", "--batch", timed.batch,
                           "--threads", args.threads])
    return [entry("quantizer-memory", "plain", [extra(machine.ours(timed))], [extra(theirs)], QUANTIZER_MEMORY_BAR,
                  unit="mib")]


def codes_in(text):
    """Of what either program prints: the lines that are numbers alone."""
    lines = [line.split() for line in text.splitlines()]
    return [int(word) for line in lines if line and all(word.isdigit() for word in line) for word in line]


def one_image(machine, pairs):
    """A program's whole life: from its start to the codes of one photograph on the screen."""
    args = machine.args
    baseline = [args.python, BENCH / "baseline.py", args.oracle]
    with tempfile.TemporaryDirectory() as folder:
        weights, image = Path(folder) / "tokenizer.pth", Path(folder) / "images/image.jpg"
        image.parent.mkdir()
        run([*baseline, "make-files", weights, image])
        tokenize = [*baseline, "tokenize", weights, image, "--threads", args.threads]
        commands = {"ours": [args.program, "tokenize", "--tokenizer", weights, "--data", image.parent, "--print",
                             "--quiet", "--device", "cpu", "--threads", args.threads],
                    "plain": tokenize, "best": [*tokenize, "--fast-start"]}
        codes = {name: codes_in(run(command)[0]) for name, command in commands.items()}
        for name in ("plain", "best"):
            same = sum(a == b for a, b in zip(codes["ours"], codes[name]))
            if len(codes["ours"]) != 196 or same < 0.9 * 196:
                raise Failure(f"one-image: expected the same codes of both, got {same} of 196 equal to {name}'s")
        taken = in_turn({name: lambda command=command: run(command)[1] for name, command in commands.items()}, pairs)
    return [entry("one-image", against, taken["ours"], taken[against], bar) for against, bar in ONE_IMAGE_BARS.items()]


def load(name, machine, pairs):
    """Seconds a batch of 32 pre-training views, one thread."""
    args = machine.args
    if not Path(args.images).is_dir():
        raise Failure(f"{name}: expected a folder of photographs, got none at {args.images}; set --images FOLDER")
    decode = "exact" if name == "load-exact" else "fast"
    ours = [args.program, "data", "bench", "--data", args.images, "--batch-size", LOAD_BATCH, "--batches", LOAD_BATCHES,
            "--workers", 1, "--color-jitter", 0.4, "--decode", decode]
    theirs = [args.python, "bench.py", "--case", "load", "--images", args.images, "--batch", LOAD_BATCH, "--steps",
              LOAD_BATCHES, "--threads", 1]
    taken = in_turn({"ours": lambda: LOAD_BATCH / printed_json(ours)["images_per_s"],
                     "plain": lambda: printed_json(theirs, cwd=args.oracle)["median_s"]}, pairs)
    return [entry(name, "plain", taken["ours"], taken["plain"])]


def case_table(pairs, bf16):
    """Every case by name, as a function of the machine."""
    timed = TIMED | (TIMED_BF16 if bf16 else {})
    cases = {name: lambda machine, name=name: time_steps(name, timed[name], machine, pairs) for name in timed}
    return cases | {"quantizer-memory": quantizer_memory, "one-image": lambda machine: one_image(machine, pairs),
                    "memory": memory, "load": lambda machine: load("load", machine, pairs),
                    "load-exact": lambda machine: load("load-exact", machine, pairs)}


def this_machine(path="/proc/cpuinfo"):
    """Name and cores of the processor, and whether it has fast products in bf16."""
    lines = [line.split(":", 1) for line in open(path) if ":" in line]
    facts = {key.strip(): value.strip() for key, value in lines}
    # Rented machines may name a make alone: its generations differ by more than our bars.
    generation = f"family {facts['cpu family']}, model {facts['model']}, " if "cpu family" in facts else ""
    name = f"{facts.get('model name', 'unknown processor')}, {generation}{os.cpu_count()} cores"
    return name, any(flag in facts.get("flags", "").split() for flag in ("avx512_bf16", "amx_bf16"))


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all but load and load-exact")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each side, in turn; memory takes one")
    parser.add_argument("--bf16", action="store_true", help="also mim and tokenize in bf16, without a bar")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/beit")
    parser.add_argument("--python", type=Path, default=ROOT / ".deps/python/bin/python", help="one with PyTorch")
    parser.add_argument("--oracle", type=Path, default=ROOT.parent / "shared/oracle", help="folder of bench.py")
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared/data/imagenet-sample", help="of load")
    parser.add_argument("--results", type=Path, default=BENCH / "results.json")
    args = parser.parse_args(words)
    for name in ("program", "python"):  # not resolved: the Python of an environment is a link
        setattr(args, name, Path(os.path.abspath(getattr(args, name))))
    return args


def check(args, known, has_bf16):
    unknown = [case for case in args.cases if case not in known]
    if unknown:
        raise Failure(f"expected cases among {', '.join(known)}, got '{unknown[0]}'")
    if args.pairs < 1:
        raise Failure(f"expected at least one pair, got {args.pairs}")
    if args.bf16 and not has_bf16:
        raise Failure("bf16: expected a processor with AVX512-BF16 or AMX, got one without; leave --bf16 (BF16=1) out")
    for path, what in ((args.program, "`make build` makes it"), (args.python, "`make setup-python` makes it"),
                       (args.oracle / "bench.py", "the statement of the model belongs beside this folder: --oracle")):
        if not path.exists():
            raise Failure(f"expected {path}, got none; {what}")


def write_results(path, new):
    """These entries into the file, beside the others of this machine."""
    old = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps(merged(old, new, this_machine()[0]), indent=1) + "\n")


def main(words):
    args = parse(words)
    machine_name, has_bf16 = this_machine()
    cases = case_table(args.pairs, args.bf16)
    check(args, cases, has_bf16)
    machine, failures = Machine(args), []
    for name in args.cases or [name for name in cases if not name.startswith("load")]:
        start = time.perf_counter()
        try:
            new = cases[name](machine)
        except Failure as failure:
            failures.append(name)
            print(f"compare: error: {failure}", file=sys.stderr, flush=True)
            continue
        write_results(args.results, new)
        print(f"{name}: " + ", ".join(f"{one['ratio']:.2f} of {one['against']}" for one in new) +
              f" ({time.perf_counter() - start:.0f} s)", flush=True)
    if args.results.exists():
        print(f"\n{machine_name}, {args.threads} threads\n\n{table(json.loads(args.results.read_text()))}")
    if failures:
        raise Failure(f"no figures of {', '.join(failures)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"compare: error: {failure}")

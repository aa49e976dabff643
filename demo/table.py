#!/usr/bin/env python3
"""Sets finished runs side by side: table.py OUTPUT.json TARGET=FOLDER ...

TARGET is random, pixels, hog, semantic or teacher, and may come several times, once for each seed. FOLDER holds
probe.json of `beit probe --json`; where a network was trained, also the runs `tokenizer` and `pretrain`. All figures
are those of the validation images, in percent but for the perplexity. Over several folders the spread is the standard
deviation between them; in a single folder it is that of the probe's seeds.
"""
import json
import os
import statistics
import sys

TARGETS = ["random", "pixels", "hog", "semantic", "teacher"]
TRAINED = ["pixels", "hog", "semantic"]
COLUMNS = {
    "usage_percent": "codes used %",
    "perplexity": "perplexity",
    "masked_accuracy": "masked codes %",
    "linear_top1": "linear top-1 %",
    "knn_top1": "kNN top-1 %",
}


def last_figure(run, key):
    """The newest figure of that name in a run's log."""
    with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as lines:
        figures = [event[key] for event in map(json.loads, lines) if event.get("event") == "epoch" and key in event]
    if not figures:
        raise ValueError(f"{run}/log.jsonl: expected {key} at the end of an epoch, got none; let the run finish")
    return figures[-1]


def figures_of(target, folder):
    """The columns' values of one folder, and the probe's result."""
    with open(os.path.join(folder, "probe.json"), encoding="utf-8") as file:
        probe = json.load(file)
    figures = {"linear_top1": probe["linear_top1"], "knn_top1": probe["knn_top1"]}
    if target in TRAINED:
        tokenizer, pretrain = os.path.join(folder, "tokenizer"), os.path.join(folder, "pretrain")
        figures["usage_percent"] = last_figure(tokenizer, "val_usage_percent")
        figures["perplexity"] = last_figure(tokenizer, "val_perplexity")
        figures["masked_accuracy"] = 100 * last_figure(pretrain, "val_masked_accuracy")
    return figures, probe


def row_of(target, folders):
    """One object of the output."""
    found = [figures_of(target, folder) for folder in folders]
    single = len(found) == 1
    row = {"target": target, "seeds": found[0][1]["seeds"] if single else len(found)}
    for key in COLUMNS:
        values = [figures[key] for figures, _ in found if key in figures]
        row[key] = statistics.fmean(values) if values else None
        row[key + "_spread"] = found[0][1].get(key + "_spread") if single else None
        if len(values) > 1:
            row[key + "_spread"] = statistics.stdev(values)
    return row


def text_of(rows):
    """The table as it is printed."""

    def cell(row, key):
        if row[key] is None:
            return "-"
        spread = row[key + "_spread"]
        return f"{row[key]:.1f}" + ("" if spread is None else f" +- {spread:.1f}")

    lines = [["target", "seeds", *COLUMNS.values()]]
    lines += [[row["target"], str(row["seeds"]), *(cell(row, key) for key in COLUMNS)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(map(str.rjust, line, widths)) for line in lines)


def main(output, *pairs):
    folders = {}
    for pair in pairs:
        target, found, folder = pair.partition("=")
        if target not in TARGETS or not found:
            raise ValueError(f"expected TARGET=FOLDER, target one of {', '.join(TARGETS)}; got '{pair}'")
        folders.setdefault(target, []).append(folder)
    rows = [row_of(target, folders[target]) for target in TARGETS if target in folders]
    with open(output + ".tmp", "w", encoding="utf-8") as file:
        file.write(json.dumps(rows, indent=2) + "\n")
    os.replace(output + ".tmp", output)
    print(text_of(rows))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"table: error: {error}")

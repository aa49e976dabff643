#!/usr/bin/env python3
"""What several seeds of a run gave: spread.py FIGURE NAME=RUN[,RUN...] ...

FIGURE is one of a run's epochs (val_top1, val_miou), of which the last is taken. Prints for each name the mean over its
runs, the standard deviation between them, and every run's figure.
"""
import statistics
import sys

from table import last_figure


def row(name, values):
    spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{name:<24}{statistics.mean(values):6.2f}{spread}  ({', '.join(f'{value:.2f}' for value in values)})"


def main(figure, groups):
    print(f"{figure}, mean +- standard deviation over runs")
    for group in groups:
        name, _, runs = group.partition("=")
        print(row(name, [last_figure(run, figure) for run in runs.split(",")]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2:])
    except (OSError, ValueError) as error:
        sys.exit(f"spread.py: error: {error}")

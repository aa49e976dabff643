#!/usr/bin/env python3
"""make_snapshot_goldens.py ORACLE_FOLDER OUTPUT_FOLDER: quantizer.safetensors and vqkd.safetensors, each value as it was.

The oracle's own make_golden.py keeps references to the codebook, which later steps change in place, so that its files
hold the last codebook under every name. Here each value is copied when it is noted; seeds and inputs are the same.
Needs PyTorch, safetensors, Pillow and SciPy.
"""

import sys


class Snapshots(dict):
    """Copies what is put into it."""

    def update(self, values):
        super().update({name: value.detach().clone() for name, value in values.items()})


def main(oracle, output):
    sys.path.insert(0, oracle)
    import make_golden

    weights = make_golden.weights

    def copied_weights(model):
        snapshots = Snapshots()
        snapshots.update(weights(model))
        return snapshots

    make_golden.OUT = output
    make_golden.weights = copied_weights
    make_golden.quantizer()
    make_golden.vqkd()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""ONNX's checker and ONNX Runtime on the files that tests/train/onnx_export_test.cpp and `beit export` write.

    python tests/python/onnx_files.py TESTS PROGRAM

TESTS is the program of tests: each of its networks must give here what it gave there. The exports of networks that
transformers made must give what transformers computes.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import onnx
    import onnxruntime
except ImportError as missing:
    print(f"skipped: no {missing.name} in this Python; make setup-python installs it")
    sys.exit(0)

import numpy
import torch
from safetensors.numpy import load_file

from exchange import beit, off_trivial, require
from hf import CLASSIFIERS, SIZE, BeitConfig, BeitForImageClassification  # which keeps transformers off the network

TOLERANCE = 1e-4
MEAN, STD = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def session_of(path):
    """The network in the runtime, the file being right by the checker, shapes and types of all values included."""
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def require_close(got, expected, what):
    require(got.shape == expected.shape and got.dtype == expected.dtype,
            f"{what}: expected {expected.dtype} {expected.shape}, got {got.dtype} {got.shape}")
    if expected.dtype == numpy.int64:
        require((got == expected).all(), f"{what}: {(got != expected).sum()} of {got.size} codes are others")
        return 0.0
    largest = float(abs(got - expected).max() / abs(expected).max())
    require(largest < TOLERANCE, f"{what}: differs by {largest:.1e}")
    return largest


def check_tests_networks(tests, folder):
    subprocess.run([tests, "--source-file=*/tests/train/onnx_export_test.cpp"], check=True,
                   env={**os.environ, "BEIT_ONNX": str(folder)})
    cases = sorted(path.parent for path in folder.glob("*/model.onnx"))
    require(len(cases) > 20, f"onnx: expected the tests' networks, got {len(cases)}")
    worst = 0.0
    for case in cases:
        session, expected = session_of(case / "model.onnx"), load_file(case / "expected.safetensors")
        images = expected.pop("images")
        names = [output.name for output in session.get_outputs()]
        require(sorted(names) == sorted(expected), f"{case.name}: expected {sorted(expected)}, got {names}")
        require("grid" in session.get_modelmeta().custom_metadata_map, f"{case.name}: expected a grid in the metadata")
        for count in (len(images), 1):
            for name, got in zip(names, session.run(None, {"images": images[:count]})):
                worst = max(worst, require_close(got, expected[name][:count], f"{case.name}: {name}"))
    print(f"onnx: {len(cases)} networks in ONNX Runtime differ by {worst:.1e}")


def check_transformers_networks(program, folder):
    torch.manual_seed(4)
    for name, options in CLASSIFIERS.items():
        model = BeitForImageClassification(BeitConfig(**(SIZE | options), num_labels=7)).eval()
        off_trivial(model)
        model.save_pretrained(folder / name)
        beit(program, "export", "--weights", folder / name, "--output", folder / f"{name}.onnx")
        images = torch.rand(3, 3, 32, 32)
        (got,) = session_of(folder / f"{name}.onnx").run(["logits"], {"images": images.numpy()})
        largest = require_close(got, model((images - MEAN) / STD).logits.numpy(), name)
        print(f"onnx: transformers' {name}: logits differ by {largest:.1e}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs, torch.no_grad():
        check_tests_networks(sys.argv[1], Path(ours))
        check_transformers_networks(sys.argv[2], Path(theirs))

"""What the tests share that exchange weights with other libraries.

A case is a folder: expected.safetensors holds inputs `in.*` and results `out.*`, the folder weights/ what
tests/train/exchange_test.cpp loads to compute the same.
"""
import subprocess
from argparse import Namespace

import torch
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4


def require(holds, what):
    if not holds:
        raise SystemExit(f"error: {what}")


def beit(program, *arguments):
    """Runs the program; a failure ends the test with what it said."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    require(done.returncode == 0, f"beit {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def new_case(folder, name):
    case = folder / name
    (case / "weights").mkdir(parents=True)
    return case


def folder_of(case, weights):
    """Where in the case such weights belong: only a bias table states the number of heads, without a configuration."""
    return case / "weights" if any(name.endswith("relative_position_bias_table") for name in weights) else case


def save_expected(case, tensors):
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, case / "expected.safetensors")


def save_as_published(path, weights, **args):
    """As the published code saves: the weights among what its training keeps."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=5e-4, betas=(0.9, 0.98))
    parameter.grad = torch.ones(3)
    optimizer.step()
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "epoch": 3, "scaler": {},
                "args": Namespace(opt_betas=[0.9, 0.98], distributed=True, resume="", clip_grad=None, **args)}, path)


def branch_like(weights):
    """A CLS branch of one block, for weights without one."""
    return {name.replace("blocks.2", "cls_pt_layers.0"): tensor for name, tensor in weights.items() if "blocks.2" in name}


def off_trivial(model):
    """Moves what starts at zeros or ones off it, so that an error there shows."""
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1 or any(part in name for part in ("table", "token", "position", "pos_embed")):
            parameter.data.add_(torch.randn_like(parameter) * 0.05)


def require_equal(got, expected, what):
    """The same names, types and bits."""
    missing, unexpected = sorted(expected.keys() - got.keys()), sorted(got.keys() - expected.keys())
    require(not missing and not unexpected, f"{what}: names missing: {missing}; unexpected: {unexpected}")
    for name, tensor in expected.items():
        require(got[name].dtype == tensor.dtype, f"{what}: {name}: expected {tensor.dtype}, got {got[name].dtype}")
        require(torch.equal(got[name], tensor), f"{what}: {name} differs")


def require_close(got, expected, what):
    require(got.shape == expected.shape, f"{what}: expected {expected.shape}, got {got.shape}")
    largest = (got - expected).abs().max().item()
    require(largest < TOLERANCE, f"{what}: differs by {largest:.1e}")
    return largest


def weights_of(folder):
    return load_file(folder / "model.safetensors")

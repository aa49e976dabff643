"""Writes objects.pth, a checkpoint with all sorts of Python objects beside its tensors, in PyTorch's zip form, and
script.pt, a TorchScript archive; and the same tensors as they should be read: objects.safetensors, script.safetensors."""

import argparse
import collections
import pathlib

import numpy
import torch
from safetensors.torch import save_file

folder = pathlib.Path(__file__).parent
torch.manual_seed(1)


class Thing:
    """Known to this script only."""

    def __init__(self):
        self.tensor = torch.ones(2)


def save_tensors(tensors, name):
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, folder / name)


model = torch.nn.Linear(3, 2)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.5, betas=(0.5, 0.75))
model(torch.ones(1, 3)).sum().backward()
optimizer.step()
base = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8
counts = collections.defaultdict(list)
counts["seen"].append(7)
others = {"view": base.t()[1:, ::2], "base": base, "parameter": torch.nn.Parameter(base[:2].clone()),
          "unsigned": torch.tensor([1, 65535], dtype=torch.uint16), "mask": torch.tensor([True, False]),
          "complex": torch.tensor([1 + 2j]), "eighth": torch.tensor([0.5, -2.0]).to(torch.float8_e4m3fn)}
checkpoint = {
    "model": model.state_dict(), "optimizer": optimizer.state_dict(), "others": others,
    "args": argparse.Namespace(lr=0.5, layers=(2, 3), output=pathlib.PosixPath("/x"), device=torch.device("cpu")),
    "counts": counts, "epoch": 3, "long": 2**40, "array": numpy.arange(3), "number": numpy.float64(2.5),
    "set": {1, 2}, "frozen": frozenset([1]), "bytes": b"ab", "mutable": bytearray(b"ab"), "complex": 1 + 2j,
    "size": torch.Size([1]), "dtype": torch.float32, "thing": Thing(), "class": Thing, ("key",): 1, None: 2, 7: "seven"}
torch.save(checkpoint, folder / "objects.pth")
tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
tensors |= {f"others.{name}": value for name, value in others.items()}
tensors |= {f"optimizer.state.{i}.{name}": value for i, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()}
save_tensors(tensors, "objects.safetensors")


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.BatchNorm2d(2))
        self.register_buffer("resolution", torch.tensor(2))
        self.names, self.scale = ["a", "b"], 0.5

    def forward(self, image):
        return self.visual(image) * self.scale


network = Network()
torch.jit.script(network).save(folder / "script.pt")
save_tensors(network.state_dict(), "script.safetensors")

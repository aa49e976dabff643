"""Writes legacy.pth, PyTorch's form before 1.6, and legacy.safetensors, the same tensors as they should be read."""

import pathlib
from collections import OrderedDict

import torch
from safetensors.torch import save_file

folder = pathlib.Path(__file__).parent
base = torch.arange(60, dtype=torch.float32).reshape(5, 12) / 8

state = OrderedDict()
state["plain"] = torch.linspace(-1, 1, 7)
state["base"] = base
state["view"] = base[1:4, 2:11:3].t()  # not contiguous, shares the storage of `base`
state["half"] = torch.tensor([0.5, -2.0, 65504.0], dtype=torch.float16)
state["brain"] = torch.tensor([[1.0, -3.0]], dtype=torch.bfloat16)
state["steps"] = torch.tensor(2**40 + 1, dtype=torch.int64)
state["mask"] = torch.tensor([True, False, True])
state["empty"] = torch.zeros(0, 3)
state["weight"] = torch.nn.Parameter(torch.full((2, 2), 0.25))
state._metadata = OrderedDict([("", {"version": 1}), ("norm", {"version": 2})])  # as Module.state_dict() sets it

checkpoint = {"model": state, "epoch": 3, "rate": 0.125, "name": "tiny", "best": None, "done": True, "sizes": [4, 5]}
torch.save(checkpoint, folder / "legacy.pth", _use_new_zipfile_serialization=False)
save_file({f"model.{name}": tensor.detach().clone().contiguous() for name, tensor in state.items()},
          folder / "legacy.safetensors")

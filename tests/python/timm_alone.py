"""timm without torchvision, which it asks for but uses in its image pipeline only: `from timm_alone import timm`.

torchvision is not to be had for every build of PyTorch. Each name that timm takes from it becomes an empty class.
"""
import enum
import sys
import types


class _StandIn(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _name in ("torchvision", "torchvision.datasets", "torchvision.ops", "torchvision.ops.misc",
              "torchvision.transforms", "torchvision.transforms.functional"):
    _module = sys.modules[_name] = _StandIn(_name)
    _parent, _, _child = _name.rpartition(".")
    if _parent:
        setattr(sys.modules[_parent], _child, _module)
sys.modules["torchvision.transforms.functional"].InterpolationMode = enum.Enum(
    "InterpolationMode", "NEAREST BILINEAR BICUBIC BOX HAMMING LANCZOS")

import timm  # noqa: E402,F401

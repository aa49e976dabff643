"""BEiT v2: visual tokens, features, classes and segmentations of images, computed in C++ on torch's own library.

Everywhere images are float32 tensors [B, 3, height, width] in [0, 1], on the network's device, and sides are multiples
of the patch (a segmenter takes any); read_images() makes them of files. Nothing that is returned has a gradient. Calls
let other threads of Python go on. What the library notes goes to the logger "beit".
"""
import torch

from beit._built import TORCH_VERSION as _BUILT_WITH, VERSION as __version__


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


if _minor(torch.__version__) != _minor(_BUILT_WITH):
    raise ImportError(f"beit: expected torch {_minor(_BUILT_WITH)}, with which it was built, got {torch.__version__}; "
                      "install that one, or build beit anew for this one")

from beit._beit import Backbone, Classifier, Error, Segmenter, Tokenizer, read_images  # noqa: E402

__all__ = ["Backbone", "Classifier", "Error", "Segmenter", "Tokenizer", "read_images", "__version__"]
for _public in (Backbone, Classifier, Error, Segmenter, Tokenizer):
    _public.__module__ = "beit"
del _public

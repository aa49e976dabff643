"""Prints where this interpreter's torch lies and its version, with a semicolon between, without importing it."""
import importlib.metadata
import importlib.util
import sys

spec = importlib.util.find_spec("torch")
if spec is None or not spec.submodule_search_locations:
    sys.exit(1)
print(spec.submodule_search_locations[0], importlib.metadata.version("torch"), sep=";")

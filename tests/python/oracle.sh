#!/usr/bin/env bash
# oracle.sh NAME PYTHON TESTS: what tests/python/NAME.py computes with PyTorch, then tests/train/NAME_test.cpp against it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$2" "$(dirname "$0")/$1.py" "$folder"
BEIT_PARITY=$folder "$3" --source-file="*/tests/train/$1_test.cpp"

#!/usr/bin/env bash
# oracle.sh NAME PYTHON TESTS [PROGRAM TEST]: what tests/python/NAME.py computes with PyTorch (and PROGRAM), then
# tests/train/TEST_test.cpp against it; TEST is NAME where it is left out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$2" "$(dirname "$0")/$1.py" "$folder" ${4:+"$4"}
BEIT_PARITY=$folder "$3" --source-file="*/tests/train/${5:-$1}_test.cpp"

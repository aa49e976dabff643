#!/usr/bin/env bash
# The Python environment in DEPS/python that tests/python compares with: PyTorch and readers of files. Nothing else
# of the project needs it.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(torch==2.13.0 numpy safetensors pillow)

stamp=$DEPS/python/set-up.txt
[ -e "$stamp" ] && [ "$(cat "$stamp")" = "${packages[*]}" ] && exit 0
scripts/packages.sh python3-venv
echo "set-up: the tests' Python environment, ${packages[*]}"
"$PYTHON" -m venv --clear "$DEPS/python"
"$DEPS/python/bin/pip" install -qq ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "${packages[@]}"
echo "${packages[*]}" >"$stamp"

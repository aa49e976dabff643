#!/usr/bin/env bash
# The Python environment in DEPS/python that tests/python compares with: PyTorch, readers of files, and the libraries
# that our weights go to and come from. Nothing else of the project needs it.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(torch==2.13.0 numpy==2.4.6 safetensors==0.8.0 pillow==12.3.0 transformers==5.24.0
  tensorboard==2.21.0 onnx==1.23.1 onnxruntime==1.30.0)
# Without what it asks for: its torchvision would bring another PyTorch (tests/python/timm_alone.py does without).
alone=(timm==1.0.31)

debian=(python3-venv python3-dev)  # python3-dev: the headers for our own module

stamp=$DEPS/python/set-up.txt
[ -e "$stamp" ] && [ "$(cat "$stamp")" = "${packages[*]} ${alone[*]}" ] && exec scripts/packages.sh "${debian[@]}"
if [ -d "$DEPS/nvidia" ] && [ "${PYTHON_TESTS:-}" != yes ]; then
  echo "set-up: no Python environment, so the tests that need one are left out: PyTorch as its index gives it here would" \
    "fetch gigabytes; make PYTHON_TESTS=yes does so"
  exit 0
fi
scripts/packages.sh "${debian[@]}"
echo "set-up: the tests' Python environment, ${packages[*]} ${alone[*]}"
"$PYTHON" -m venv --clear "$DEPS/python"
"$DEPS/python/bin/pip" install -qq ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "${packages[@]}"
"$DEPS/python/bin/pip" install -qq --no-deps "${alone[@]}"
echo "${packages[*]} ${alone[*]}" >"$stamp"

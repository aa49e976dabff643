#!/usr/bin/env bash
# run.sh BUILD: installs a finished build into a folder of its own, builds the program here against it, and runs both.
set -euo pipefail
build=$(realpath "$1")
folder=$build/tests/installed
rm -rf "$folder"
cmake --install "$build" --prefix "$folder/prefix" >"$build/tests/install.log"
"$folder/prefix/bin/beit" --version
export CMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache)
cmake -S "$(dirname "$0")" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix" --log-level=NOTICE
cmake --build "$folder/build"
(cd "$folder" && build/consumer)

#!/usr/bin/env bash
# Everything that the build needs, on a bare Debian 12: packages, the engine, the demo's teacher.
# What is there already is left alone, so that a second call takes no time. Run by make, which sets the variables:
# DEPS, TORCH_DIR (empty: the wheel is fetched), TORCH_INDEX, PYTHON, GPU. `setup.sh packages` stops after the packages.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/packages.sh build-essential cmake ninja-build ccache pkg-config unzip ca-certificates python3 python3-pip \
  clang-format libcli11-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libjpeg62-turbo-dev libpng-dev libwebp-dev \
  libgif-dev libprotobuf-dev protobuf-compiler libcpp-httplib-dev libssl-dev doctest-dev doxygen
[ "${1:-}" = packages ] && exit 0
[ -n "${TORCH_DIR:-}" ] || scripts/engine.sh
scripts/teacher.sh

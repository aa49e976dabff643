#!/usr/bin/env bash
# tidy.sh [FILE...]: clang-tidy over these sources, or all of src; BUILD (build/release) is a configured build.
# A file takes half a minute and more, as clang-tidy uses no precompiled header.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}

# g++'s own flags are taken out: clang knows no -fpch-preprocess, has no OpenMP of its own here and cannot read g++'s precompiled header.
mkdir -p build/tidy
sed -E 's/ (-fpch-preprocess|-Winvalid-pch|-Wno-stringop-overflow|-Wno-maybe-uninitialized|-fopenmp|-Wno-restrict|-include [^ ]*cmake_pch.hxx)//g' \
  "$build/compile_commands.json" >build/tidy/compile_commands.json
[ $# -gt 0 ] || mapfile -t sources < <(find src -name '*.cpp' | sort)
printf '%s\n' "${@:-${sources[@]}}" |
  xargs -P "$(scripts/jobs.sh)" -n 1 clang-tidy -p build/tidy --quiet 2> >(grep -v 'warnings* generated' >&2)

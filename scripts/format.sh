#!/usr/bin/env bash
# Formats our own C++ files; with --check it only names those that differ, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[ "${1:-}" = --check ] && mode=(--dry-run --Werror)
find src include python tests examples -name '*.cpp' -o -name '*.h' | sort | xargs clang-format "${mode[@]}"

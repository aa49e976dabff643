#!/usr/bin/env bash
# fuzz.sh BUILD SECONDS [FORMAT...]: so long of libFuzzer on each reader of foreign files, from the seeds in tests/fuzz;
# what it finds lies in BUILD/found. No input may take more than 64 MiB above its size at once, or 10 seconds; an image,
# which may be large by a few bytes, 1 GiB and 60 seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2
shift 2
[ $# -gt 0 ] || set -- pickle zip pth safetensors jpeg png webp gif bmp tar list index
mkdir -p "$build/found"
for format in "$@"; do
  corpus=$build/corpus/$format
  mkdir -p "$corpus"
  limits=(-timeout=10 -malloc_limit_mb=64 -rss_limit_mb=2048)
  case $format in
    jpeg | png | webp | gif | bmp) limits=(-timeout=60 -malloc_limit_mb=1024 -rss_limit_mb=4096) ;;
  esac
  echo "fuzz: $format, $seconds s"
  "$build/tests/fuzz/fuzz_$format" -max_total_time="$seconds" -max_len=16384 "${limits[@]}" \
    -print_final_stats=1 -artifact_prefix="$build/found/$format-" "$corpus" \
    "tests/fuzz/seeds/$format" 2>"$build/$format.log" || { tail -n 40 "$build/$format.log" >&2; exit 1; }
  grep -E 'number_of_executed_units|peak_rss_mb' "$build/$format.log"
done

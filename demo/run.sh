#!/usr/bin/env bash
# The main job in small, on real images: a tokenizer that an ImageNet network teaches, pre-training on its codes, and
# what the features are worth. All of it stands in build/demo: codes.png, report.html, table.json and the runs. A second
# call goes on where the first one stopped; to start anew, remove the folder.
set -euo pipefail
cd "$(dirname "$0")/.."
source demo/steps.sh
out=build/demo
mkdir -p "$out"

# Seconds on the machine of reference, two cores: the short run below, and the whole demo.
reference_rate_s=43
reference_whole_s=590

estimate() {
  local start=$EPOCHREALTIME
  tokenizer semantic "$out/rate" --steps 20 --resume never --quiet
  awk -v start="$start" -v end="$EPOCHREALTIME" -v rate="$reference_rate_s" -v whole="$reference_whole_s" \
    'BEGIN { printf "about %.0f minutes on this machine\n", (end - start) / rate * whole / 60 + 0.5 }'
  rm -r "$out/rate"
}

# The features of the teacher that it makes are kept; without them this is a fresh start.
[ -e "$out/teacher.safetensors" ] || part 'speed of this machine' estimate
part 'tokenizer' tokenizer semantic "$out"
part 'pre-training' pretrained "$out"
part 'features of the backbone' probe "$out" "$out/pretrain/model.safetensors" --weights "$out/pretrain" --seeds 3
part 'features of random weights' probe_random
part 'features of the teacher' probe_teacher
part 'what codes mean' \
  beit codes --tokenizer "$out/tokenizer" --data demo/data/cifar10-small-test.tar --output "$out/codes.png"
part 'report' beit report "$out/tokenizer" "$out/pretrain" --output "$out/report.html"
part 'figures' table "semantic=$out"
printf '\nwhole demo: %s; see codes.png and report.html in %s\n' "$(readable $SECONDS)" "$out"

#!/usr/bin/env bash
# The paper's comparison of targets in small (table 5): tokenizers that learn to predict pixels, HOG features or a
# network's features, each followed by the same pre-training. All of it stands in build/demo-targets, table.json too.
# A second call goes on where the first one stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
source demo/steps.sh
out=build/demo-targets
mkdir -p "$out"

# Half of the demo's passes, so that two seeds take less than 40 minutes on two cores.
seeds=${SEEDS:-2}
passes=(4 6)  # of tokenizer and pre-training

rows=()
for seed in $(seq 0 $((seeds - 1))); do
  for target in pixels hog semantic; do
    folder=$out/$target/$seed
    part "$target, seed $seed: tokenizer" tokenizer "$target" "$folder" --seed "$seed" --epochs "${passes[0]}"
    part "$target, seed $seed: pre-training" pretrained "$folder" --seed "$seed" --epochs "${passes[1]}"
    part "$target, seed $seed: features" \
      probe "$folder" "$folder/pretrain/model.safetensors" --weights "$folder/pretrain" --seed "$seed"
    rows+=("$target=$folder")
  done
done
part 'features of random weights' probe_random
part 'features of the teacher' probe_teacher
part 'figures' table "${rows[@]}"
printf '\ncomparison of targets: %s\n' "$(readable $SECONDS)"

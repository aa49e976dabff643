#!/usr/bin/env bash
# Whether pre-training pays on CIFAR-10: its 50,000 training images without their classes for pre-training, 5,000 of them
# with their classes for fine-tuning from it and from scratch, three seeds each; linear and kNN at three points of
# pre-training. DATA is the folder of cifar10-train.tar (train/CLASS/*.jpg). All of it stands in build/cifar10; a second
# call goes on where the first one stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
source demo/steps.sh
data=${DATA:?the folder of cifar10-train.tar}
out=build/cifar10
mkdir -p "$out"
precision=(${PRECISION:+--precision "$PRECISION"})

finetuned() {  # NAME SEED FLAGS...
  beit finetune --config cifar10 "${images[@]}" --seed "$2" --output "$out/$1/$2" "${precision[@]}" \
    "${@:3}"
}
probed() {  # NAME FLAGS...
  [ -e "$out/$1.json" ] || beit probe --config cifar10 "${images[@]}" "${@:2}" --json "$out/$1.json"
}

part 'tokenizer' tokenizer semantic "$out"
part 'pre-training' beit pretrain --config cifar10 --data "$data/cifar10-train.tar" \
  --val-data demo/data/cifar10-small-test.tar --tokenizer "$out/tokenizer" --output "$out/pretrain" "${precision[@]}"
for step in 00001562 00003124 00004686; do
  part "features after step $step" probed "probe-$step" \
    --weights "$out/pretrain/checkpoints/step-$step.safetensors" --layer 4 --layer 5 --layer 6 --seeds 3
done
for seed in 0 1 2; do
  part "fine-tuning, seed $seed" finetuned pretrained "$seed" --weights "$out/pretrain"
  part "from scratch, seed $seed" finetuned scratch "$seed" --layer-decay 1
done
runs() { echo "$1=$out/$1/0,$out/$1/1,$out/$1/2"; }
part 'figures' demo/spread.py val_top1 "$(runs pretrained)" "$(runs scratch)"

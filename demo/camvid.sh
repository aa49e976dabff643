#!/usr/bin/env bash
# Whether pre-training pays in segmentation: CamVid's 367 training images (and, for pre-training, whatever photographs
# PHOTOS names), mIoU of its 233 test images from a pre-trained backbone and from scratch, two seeds each. DATA is a
# folder with images/{train,test} and labels/{train,test}. All of it stands in build/camvid; a second call goes on where
# the first one stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
source demo/steps.sh
data=${DATA:?a folder with images/train and labels/train}
out=build/camvid
mkdir -p "$out"
precision=(${PRECISION:+--precision "$PRECISION"})
unlabelled=(--data "$data/images/train" ${PHOTOS:+--data "$PHOTOS"})

segmented() {  # NAME SEED FLAGS...
  beit segment --config camvid --data "$data/images/train" --labels "$data/labels/train" \
    --val-data "$data/images/test" --val-labels "$data/labels/test" --classes demo/data/camvid.txt \
    --seed "$2" --output "$out/$1/$2" "${precision[@]}" "${@:3}"
}

part 'tokenizer' beit vqkd --config camvid "${unlabelled[@]}" "${network[@]}" --output "$out/tokenizer"
part 'pre-training' beit pretrain --config camvid "${unlabelled[@]}" --tokenizer "$out/tokenizer" \
  --output "$out/pretrain" "${precision[@]}"
for seed in 0 1; do
  part "segmentation, seed $seed" segmented pretrained "$seed" --weights "$out/pretrain"
  part "from scratch, seed $seed" segmented scratch "$seed" --layer-decay 1
done
runs() { echo "$1=$out/$1/0,$out/$1/1"; }
part 'figures' demo/spread.py val_miou "$(runs pretrained)" "$(runs scratch)"

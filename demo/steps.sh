# What both demos are made of; sourced by their scripts in the repository's root. What is done already is not done
# again.
beit() { "${BUILD:-build/release}/beit" "$@"; }
images=(--data demo/data/cifar10-small-train.tar --val-data demo/data/cifar10-small-test.tar)
network=(--teacher efficientnet-lite --teacher-weights "${DEPS:-.deps}/teacher/efficientnet-lite2.pth")

readable() { echo "$(($1 / 60)) min $(($1 % 60)) s"; }

# part TITLE COMMAND...: runs it and says how long it took.
part() {
  local title=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$title"
  "$@"
  echo "-- $title: $(readable $((SECONDS - start)))"
}

# tokenizer TARGET FOLDER FLAGS...: trains one that predicts the target; the network's features are kept for all.
tokenizer() {
  local teacher=(--teacher "$1")
  [ "$1" != semantic ] || teacher=("${network[@]}" --teacher-cache "$out/teacher.safetensors")
  beit vqkd --config configs/demo.toml "${images[@]}" "${teacher[@]}" --output "$2/tokenizer" "${@:3}"
}

# pretrained FOLDER FLAGS...: a backbone, pre-trained on the codes of the folder's tokenizer.
pretrained() {
  beit pretrain --config configs/demo.toml "${images[@]}" --tokenizer "$1/tokenizer" --output "$1/pretrain" "${@:2}"
}

# probe FOLDER SOURCE FLAGS...: measures features into the folder's probe.json, anew where the file SOURCE is newer.
probe() {
  mkdir -p "$1"
  [ "$1/probe.json" -nt "$2" ] ||
    beit probe --config configs/demo.toml "${images[@]}" "${@:3}" --json "$1/probe.json"
}

# The lower and the upper bound.
probe_random() { probe "$out/random" configs/demo.toml --random-init --seeds 3; }
probe_teacher() { probe "$out/teacher" configs/demo.toml --teacher-features "${network[@]}" --seeds 3; }

table() { "${PYTHON:-python3}" demo/table.py "$out/table.json" "$@" "random=$out/random" "teacher=$out/teacher"; }

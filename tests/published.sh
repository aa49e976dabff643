#!/usr/bin/env bash
# published.sh FOLDER [IMAGENET-VALIDATION]: checks the published files that lie in FOLDER, under their published names.
#
#   BEIT=build/release/beit tests/published.sh ~/weights
#
# Every file must open and convert, and the tokenizer must give the reference's own example image the published 196
# codes (the image lies in FOLDER too). The last lines say what was checked and which files are absent.
# Exit status: 0 what is there is as it should be; 1 something is not; 3 nothing was there to check.
set -uo pipefail
beit=${BEIT:-$(dirname "$0")/../build/release/beit}
golden=$(dirname "$0")/golden/example_codes.json
if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -d "$1" ]; then
  echo "published: expected FOLDER [IMAGENET-VALIDATION], got $*" >&2
  exit 1
fi
folder=$1 validation=${2:-}

tokenizers=(vqkd_encoder_base_decoder_{1x768x12_clip,3x768x12_clip,1x768x12_dino})
models=(beitv2_{base,large}_patch16_224_pt1k{,_ft1k,_ft21k,_ft21kto1k})
teachers=(ViT-B-16.pt dino_vitbase16_pretrain.pth)
example_tokenizer=${tokenizers[0]}
example_image=ILSVRC2012_val_00031649.JPEG

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checked=0 failed=0 absent=()

# The tokenizers' names end in a hash.
find_file() {
  local found
  for found in "$folder/$1" "$folder/$1.pth" "$folder/$1"-*.pth; do
    [ -e "$found" ] && echo "$found" && return
  done
  return 1
}

# check WHAT COMMAND...: the command's own words where it fails.
check() {
  local what=$1
  shift
  checked=$((checked + 1))
  if "$@" >"$work/said" 2>&1; then
    echo "ok      $what"
  else
    failed=$((failed + 1))
    echo "FAILED  $what: $(tail -n 1 "$work/said")"
  fi
}

example_codes() {
  local expected got other
  expected=$(sed -E 's/.*"codes": \[([^]]*)\].*/\1/' "$golden" | tr -d ',')
  got=$("$beit" tokenize --tokenizer "$1" --data "$2" --print | grep -E '^( +[0-9]+){14}$' | xargs) || return 1
  other=$(diff <(xargs -n 1 <<<"$expected") <(xargs -n 1 <<<"$got") | grep -c '^[<>]')
  [ "$other" -eq 0 ] && return
  echo "expected the published 196 codes, got $(wc -w <<<"$got") with $other lines of difference"
  return 1
}

for name in "${tokenizers[@]}" "${models[@]}" "${teachers[@]}"; do
  if ! file=$(find_file "$name"); then
    absent+=("$name")
    continue
  fi
  check "$name opens" "$beit" inspect "$file"
  # Teachers are read as they are; nothing else takes them.
  [[ " ${teachers[*]} " = *" $name "* ]] && continue
  check "$name converts" "$beit" convert "$file" "$work/converted.safetensors" --to safetensors
  rm -f "$work/converted.safetensors"
done

if ! image=$(find_file $example_image); then
  absent+=("$example_image")
elif tokenizer=$(find_file "$example_tokenizer"); then
  check "$example_tokenizer: the example image's codes" example_codes "$tokenizer" "$image"
fi

if [ -n "$validation" ]; then
  echo "not checked: accuracies over $validation: no command evaluates classifiers yet"
fi
[ ${#absent[@]} -eq 0 ] || printf 'absent  %s\n' "${absent[@]}"
echo "published: $checked checks, $failed failed, ${#absent[@]} files absent"
[ "$failed" -eq 0 ] || exit 1
[ "$checked" -gt 0 ] || exit 3

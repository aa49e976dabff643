#!/usr/bin/env bash
# published_test.sh BEIT: that published.sh says what is absent, and fails where a file or code is not as it should be.
set -euo pipefail
script=$(dirname "$0")/published.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/weights"

# expect STATUS LINE: runs the script over the folder.
expect() {
  local said status=0
  said=$(BEIT=$beit "$script" "$folder/weights" 2>&1) || status=$?
  if [ "$status" != "$1" ] || ! grep -qE -- "$2" <<<"$said"; then
    printf 'published: expected status %s and a line like %s, got status %s and:\n%s\n' "$1" "$2" "$status" "$said" >&2
    exit 1
  fi
}

beit=$1
expect 3 '^published: 0 checks, 0 failed, 14 files absent$'
expect 3 '^absent  beitv2_large_patch16_224_pt1k_ft21kto1k$'

echo "not weights" >"$folder/weights/beitv2_base_patch16_224_pt1k.pth"
expect 1 '^FAILED  beitv2_base_patch16_224_pt1k opens: .*beitv2_base_patch16_224_pt1k\.pth'
expect 1 '^FAILED  beitv2_base_patch16_224_pt1k converts: '
rm "$folder/weights/"*

# A program that prints the codes in the file CODES, among other lines.
beit=$folder/beit
cat >"$beit" <<'STOP'
#!/usr/bin/env bash
[ "$1" != tokenize ] || { echo "image"; cat "$(dirname "$0")/codes"; echo "1 image"; }
STOP
chmod +x "$beit"
touch "$folder/weights/"{vqkd_encoder_base_decoder_1x768x12_clip-d93179da.pth,ILSVRC2012_val_00031649.JPEG}
sed -E 's/.*"codes": \[([^]]*)\].*/\1/' "$(dirname "$0")/golden/example_codes.json" | tr -d ',' | xargs -n 14 |
  sed 's/^/ /' >"$folder/codes"
expect 0 '^ok      vqkd_encoder_base_decoder_1x768x12_clip: the example image'
expect 0 '^published: 3 checks, 0 failed, 12 files absent$'
sed -i '1s/3812/3813/' "$folder/codes"
expect 1 "the example image's codes: expected the published 196 codes, got 196 with 2 lines of difference"

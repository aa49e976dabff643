#!/usr/bin/env bash
# run.sh BUILD: makes the release of a finished build, unpacks it, looks whether it has all that it needs, and turns an
# image into codes with it.
set -euo pipefail
build=$(realpath "$1")
source=$(realpath "$(dirname "$0")/../..")
folder=$build/tests/release
rm -rf "$folder"
mkdir -p "$folder/unpacked"
trap 'rm -rf "$folder"' EXIT

fail() {
  printf 'release: %s\n' "$1" >&2
  exit 1
}

log=$build/tests/release.log
if ! cpack --config "$build/CPackConfig.cmake" -B "$folder/package" >"$log" 2>&1; then
  # Where the package index gives a CUDA build there is no release to test.
  if grep -qE "expected an engine for processors alone|expected the engine's licenses" "$log"; then
    echo 'skipped: the release, which wants the engine that set-up fetches, for processors alone'
    exit 0
  fi
  cat "$log" >&2
  fail 'expected cpack to make an archive'
fi
archive=$(ls "$folder"/package/beit-*.tar.gz)
(cd "$folder/package" && sha256sum --check --quiet "$(basename "$archive").sha256")
name=$(basename "$archive" .tar.gz)
tar xzf "$archive" -C "$folder/unpacked"
rm -rf "$folder/package"
root=$folder/unpacked/$name

# The environment of a machine that knows nothing of ours.
bare() { (cd "$folder" && env -i PATH=/usr/bin:/bin HOME="$folder" "$@"); }

# No library comes from elsewhere but the C and C++ runtime.
libraries=$(bare ldd "$root/bin/beit" | awk '$2 == "=>" { print $1, $3 }')
outside=$(awk -v root="$root/" 'index($2, root) != 1' <<<"$libraries" |
  grep -vE '^lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so\.[0-9]+ /(usr/)?lib/' || true)
[ -z "$outside" ] || fail "expected libraries out of the archive alone, got: $outside"
grep -q "^libtorch_cpu.so $root/" <<<"$libraries" || fail "expected the archive's libtorch_cpu.so, got: $libraries"
path=$(bare readelf -d "$root/bin/beit" | sed -nE 's/.*\((RPATH|RUNPATH)\).*\[(.*)\]$/\1 \2/p')
[ "$path" = "RPATH \$ORIGIN/../lib" ] || fail "expected to look for libraries beside the program alone, got $path"

# Each of them has its license.
for library in "$root"/lib/*; do
  [ -L "$library" ] && continue
  line=$(grep -F "lib/$(basename "$library" | sed -E 's/(\.so(\.[0-9]+)?).*/\1/')" "$root/licenses/README.txt") ||
    fail "expected a license of $(basename "$library"), got none in licenses/README.txt"
  [ -s "$root/licenses/${line##* }" ] || fail "expected the text of: $line"
done
for file in README.md LICENSE CHANGELOG.md docs/ERRORS.md recipes/base-1600.toml; do
  [ -s "$root/$file" ] || fail "expected $file, got none"
done

version=${name#beit-}
[ "$(bare "$root/bin/beit" --version)" = "beit ${version%%-*}" ] || fail "expected version ${version%%-*}"
bare tar xf "$source/demo/data/cifar10-small-test.tar" --strip-components 2 --wildcards 'test/ship/00??.jpg'
mkdir "$folder/photos" && mv "$folder"/*.jpg "$folder/photos"
bare "$root/bin/beit" vqkd --config "$root/recipes/demo.toml" --teacher pixels --data photos --batch-size 50 --steps 2 \
  --output tokenizer --quiet
rows=$(bare "$root/bin/beit" tokenize --tokenizer tokenizer --data photos/0000.jpg --print --quiet |
  grep -cE '^( +[0-9]+){8}$') || true
[ "$rows" = 8 ] || fail "expected 8 rows of codes, got $rows"

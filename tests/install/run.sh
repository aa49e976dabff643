#!/usr/bin/env bash
# run.sh BUILD: installs a finished build into a folder of its own, builds the examples against it as the project of
# somebody else, and runs them and the program on a tokenizer that the program trains.
set -euo pipefail
build=$(realpath "$1")
source=$(realpath "$(dirname "$0")/../..")
folder=$build/tests/installed
rm -rf "$folder"
mkdir -p "$folder"

# expect WHAT GOT EXPECTED
expect() {
  [ "$2" = "$3" ] && return
  printf 'install: expected %s %s, got %s\n' "$1" "$3" "$2" >&2
  exit 1
}

cmake --install "$build" --prefix "$folder/prefix" >"$build/tests/install.log"
# What ccache asks for where a precompiled header is in use; without one these do nothing.
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CXXFLAGS=-fpch-preprocess
export CMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache)
cmake -S "$source/examples" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix" --log-level=NOTICE
cmake --build "$folder/build" -j "$("$source/scripts/jobs.sh")"

cd "$folder"
beit=prefix/bin/beit
expect 'the version' "$("$beit" --version)" \
  "beit $(sed -nE 's/^set\(PACKAGE_VERSION "(.*)"\)$/\1/p' prefix/lib/cmake/beit/beitConfigVersion.cmake)"

mkdir photos
tar xf "$source/demo/data/cifar10-small-test.tar" -C photos --strip-components 1 --wildcards 'test/*/000?.jpg'
"$beit" vqkd --config demo --teacher pixels --data photos --batch-size 50 --steps 2 --output tokenizer --quiet

# The grids alone: eight numbers a line.
numbers() { grep -E '^ *[0-9]+( +[0-9]+){7} *$' "$1" | tr -s ' ' '\n' | grep .; }
"$beit" tokenize --tokenizer tokenizer --data photos --print --quiet >program.txt
build/tokens tokenizer photos >tokens.txt
expect 'codes in all' "$(numbers tokens.txt | wc -l)" 6400
cmp <(numbers program.txt) <(numbers tokens.txt)

build/features tokenizer features.safetensors photos
expect 'the shape of the features' "$(head -c 400 features.safetensors | grep -aoE '"shape": *\[[0-9, ]*\]' | tr -dc '0-9,')" \
  100,128

# What a training loop of one's own has saved serves the program.
build/pretrain tokenizer photos backbone
ls backbone/events/events.out.tfevents.* >/dev/null
"$beit" features --weights backbone --data photos --output backbone.safetensors --quiet

# Input that is no good ends in one line, in a program of somebody else too.
said=$(build/tokens /none photos 2>&1) && expect 'the exit code of tokens /none' 0 1
[[ $said = 'tokens: /none'* ]] || expect 'a line that begins with' "$said" 'tokens: /none'

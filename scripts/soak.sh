#!/usr/bin/env bash
# soak.sh BUILD: the long forms of the tests of survival and of ranks (tests/README.md); KILLS of each training, ROUNDS of
# all tests that end or cut off ranks.
set -euo pipefail
build=$1
kills=${KILLS:-100}
rounds=${ROUNDS:-3}

echo "soak: $kills kills of each training on one rank, $((kills / 4)) of each on two"
BEIT_KILLS=$kills "$build/tests/beit_tests" --source-file='*/tests/cli/survival_test.cpp' --duration=true
for round in $(seq "$rounds"); do
  echo "soak: ranks that die, hang, are cut off, stop: round $round of $rounds"
  "$build/tests/beit_tests" --source-file='*/tests/train/distributed_test.cpp,*/tests/train/ranks_test.cpp,*/tests/cli/launch_test.cpp'
done

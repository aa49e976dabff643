#!/usr/bin/env bash
# test.sh BUILD [CTEST-OPTION...]: all tests; then what was skipped, how much was checked, and ctest's closing line.
set -uo pipefail
build=$1
shift
output=$build/Testing/output.txt
mkdir -p "$build/Testing"
ctest --test-dir "$build" --output-on-failure --no-label-summary "$@" | tee "$output"
status=${PIPESTATUS[0]}

log=$build/Testing/Temporary/LastTest.log
grep -ah '^skipped: ' "$log" | sort | uniq -c | sed -E 's/^ *([0-9]+) skipped: /skipped (\1 times): /'
sed -nE 's/^\[doctest\] (test cases|assertions): *([0-9]+) .*/\1\t\2/p' "$log" |
  awk -F'\t' '{ sum[$1] += $2 } END { print sum["test cases"] + 0 " test cases, " sum["assertions"] + 0 " assertions" }'
grep -a 'tests passed' "$output"
exit "$status"

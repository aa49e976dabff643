#!/bin/sh
# kernel_symbols.sh LEVEL OBJECT...: what these objects share with the rest of the program (weak symbols, of which the
# linker keeps one) must stand in the namespace of their level: else code for newer processors would run on old ones.
set -eu
level=$1
shift
symbols=$(nm -C "$@")
shared=$(echo "$symbols" | grep ' [VWu] ' | grep -v "::$level::" || true)
[ -z "$shared" ] || { echo "weak symbols outside of namespace $level:"; echo "$shared"; exit 1; }

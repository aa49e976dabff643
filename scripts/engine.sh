#!/usr/bin/env bash
# LibTorch out of PyTorch's wheel, into DEPS/torch: headers, licenses and the libraries that C++ needs. Where the wheel
# is a CUDA build, the NVIDIA libraries come beside it, into DEPS/nvidia, where its run path finds them: on a machine
# with a GPU (or GPU=yes) all of them and their headers, else the two small ones that the CPU library needs.
set -euo pipefail
version=2.13.0
python_version=3.11  # of the wheel that is taken where this Python is too old or too new for any

gpu=${GPU:-$(nvidia-smi -L >/dev/null 2>&1 && echo yes || echo no)}
key="torch $version, index ${TORCH_INDEX:-default}, GPU $gpu"
[ "$gpu" = yes ] && key+=" with headers"
stamp=$DEPS/torch/set-up.txt
[ -d "$DEPS/torch/licenses" ] && [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && exit 0

echo "set-up: fetching $key"
mkdir -p "$DEPS"
part=$(mktemp -d "$DEPS/part.XXXXXX")
trap 'rm -rf "$part"' EXIT
download() { "$PYTHON" -m pip download -qq ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --only-binary=:all: "$@"; }
download --no-deps --dest "$part" "torch==$version" ||
  download --no-deps --dest "$part" --implementation cp --python-version $python_version "torch==$version" \
    --platform "manylinux_2_28_$(uname -m)"

cpu_libraries=(libc10.so libtorch_cpu.so 'libgomp*' 'libarm_compute*' 'libopenblas*' 'libgfortran*')
gpu_libraries=(libc10_cuda.so libtorch_cuda.so libtorch_cuda_linalg.so libtorch_nvshmem.so libcaffe2_nvrtc.so)
libraries=("${cpu_libraries[@]}")
[ "$gpu" = yes ] && libraries+=("${gpu_libraries[@]}")
# A pattern without a match is status 11: the libraries differ between wheels.
unzip -q "$part"/torch-*.whl 'torch/include/*' 'torch-*.dist-info/licenses/*' "${libraries[@]/#/torch/lib/}" \
  -d "$part" 2>/dev/null || [ $? -eq 11 ]
mv "$part"/torch-*.dist-info/licenses "$part/torch/licenses"

# The NVIDIA packages as the wheel's metadata states them (those for Python alone left out), in their own versions.
unzip -p "$part"/torch-*.whl '*.dist-info/METADATA' | sed -nE 's/^Requires-Dist: ((cuda-toolkit|nvidia-).*)/\1/p' \
  >"$part/nvidia.txt"
parts=('nvidia/*/lib/*')
if [ "$gpu" = yes ]; then
  # What joins several GPUs is compiled with these headers; those in the folder crt come in a package of their own.
  parts+=('nvidia/*/include/*')
  sed -i -E 's/^cuda-toolkit\[/cuda-toolkit[cccl,crt,/' "$part/nvidia.txt"
else
  sed -i -E -e '/^(cuda-toolkit|nvidia-cuda-(runtime|cupti))/!d' -e 's/^cuda-toolkit\[[^]]*\]/cuda-toolkit[cudart,cupti]/' \
    "$part/nvidia.txt"
fi
rm -rf "$DEPS/nvidia"  # of another wheel
if [ -s "$part/nvidia.txt" ]; then
  download --dest "$part/nvidia" --requirement "$part/nvidia.txt"
  for wheel in "$part"/nvidia/nvidia_*.whl; do
    # As above: some have only one of the two.
    unzip -q "$wheel" "${parts[@]}" -d "$part/unpacked" 2>/dev/null || [ $? -eq 11 ]
  done
  mv "$part/unpacked/nvidia" "$DEPS/nvidia"
fi

echo "$key" >"$part/torch/set-up.txt"
rm -rf "$DEPS/torch"
mv "$part/torch" "$DEPS/torch"

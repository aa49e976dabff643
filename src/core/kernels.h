// Loops over memory that LibTorch has no single pass for, in the widest vector instructions of this processor.
#pragma once

#include <cstdint>

namespace beit {

/// One entry a loop, in float32; src/core/kernels/ has them, each compiled once a level of vector instructions. They
/// run on one thread, check nothing, and accept unaligned memory. Unless said otherwise, memory of arguments must not
/// overlap.
struct Kernels {
  /// y = gelu(x), exact (erf). y may be x.
  void (*gelu)(const float* x, float* y, int64_t count);
  /// With gelu's gradient: grad_x = grad_y * gelu'(x), and y = gelu(x). grad_x may be grad_y, and y may be x.
  void (*gelu_backward)(const float* x, const float* grad_y, float* grad_x, float* y, int64_t count);
};

/// Those of the level that LibTorch itself has chosen: the environment variable ATEN_CPU_CAPABILITY (default, avx2,
/// avx512) lowers both.
const Kernels& kernels();

}  // namespace beit

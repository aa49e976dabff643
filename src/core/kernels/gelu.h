// The exact GELU, x * Phi(x); core/kernels.h says what each does.
#pragma once

#include <cstdint>

namespace beit::CPU_CAPABILITY {

void gelu(const float* x, float* y, int64_t count);
void gelu_backward(const float* x, const float* grad_y, float* grad_x, float* y, int64_t count);

}  // namespace beit::CPU_CAPABILITY

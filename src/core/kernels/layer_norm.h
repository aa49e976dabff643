// LayerNorm; core/kernels.h says what each does.
#pragma once

#include "core/kernels.h"

namespace beit::CPU_CAPABILITY {

void layer_norm(const RowNorm& norm, const float* x, int64_t rows, float* y, float* moments);
void layer_norm_backward(const RowNorm& norm, const float* x, const float* moments, int64_t rows, const float* grad_y,
                         const float* grad_more, float* grad_x, float* grad_weight, float* grad_bias);

}  // namespace beit::CPU_CAPABILITY

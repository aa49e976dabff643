// AdamW and the norm of gradients; core/kernels.h says what each does.
#pragma once

#include <cstdint>

#include "core/kernels.h"

namespace beit::CPU_CAPABILITY {

void adamw(const AdamWFactors& factors, const float* grad, float* value, float* exp_avg, float* exp_avg_sq,
           int64_t count);
double sum_squares(const float* x, int64_t count);

}  // namespace beit::CPU_CAPABILITY

// Cross-entropy of a row of logits; core/kernels.h says what it does.
#pragma once

#include <cstdint>

#include "core/kernels.h"

namespace beit::CPU_CAPABILITY {

RowCrossEntropy cross_entropy(float* logits, const float* bias, int64_t classes, int64_t target, float scale);

}  // namespace beit::CPU_CAPABILITY

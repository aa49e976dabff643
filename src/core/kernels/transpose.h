// A matrix turned; core/kernels.h says it.
#pragma once

#include <cstdint>

namespace beit::CPU_CAPABILITY {

void transpose(const float* x, int64_t rows, int64_t columns, float* y);

}  // namespace beit::CPU_CAPABILITY

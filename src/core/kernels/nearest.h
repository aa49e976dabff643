// The search for the nearest code; core/kernels.h says what each does.
#pragma once

#include <cstdint>

namespace beit::CPU_CAPABILITY {

void nearest(const float* z, int64_t rows, int64_t width, const float* codes, int64_t tiles, int64_t* ids);

}  // namespace beit::CPU_CAPABILITY

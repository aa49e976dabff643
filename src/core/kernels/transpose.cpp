#include "core/kernels/transpose.h"

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {

void transpose(const float* x, int64_t rows, int64_t columns, float* y) {
  constexpr int kSide = Vec::size();
  const int64_t whole_rows = rows / kSide * kSide, whole_columns = columns / kSide * kSide;
  for (int64_t r = 0; r < whole_rows; r += kSide) {
    for (int64_t c = 0; c < whole_columns; c += kSide)
      at::vec::transpose_mxn<float, kSide, kSide>(x + r * columns + c, columns, y + c * rows + r, rows);
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = c < whole_columns ? whole_rows : 0; r < rows; ++r) y[c * rows + r] = x[r * columns + c];
  }
}

}  // namespace beit::CPU_CAPABILITY

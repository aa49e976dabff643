// Small products of matrices in float32 on one thread, for kernels that hold their operands in a cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
namespace {

/// A block's sums stay in registers, of which the widest level and ARM have 32 and AVX2 has 16. Without either a vector
/// is a loop, of which the compiler keeps no more than one there.
#if defined(CPU_CAPABILITY_AVX512) || defined(__aarch64__)
constexpr int kBlockRows = 6, kBlockVectors = 4;
#elif defined(CPU_CAPABILITY_AVX2)
constexpr int kBlockRows = 6, kBlockVectors = 2;
#else
constexpr int kBlockRows = 1, kBlockVectors = 1;
#endif

/// `count` rounded up to whole vectors.
constexpr int64_t padded(int64_t count) { return (count + Vec::size() - 1) / Vec::size() * Vec::size(); }

/// A [rows, depth] whose element (i, k) is data[i * row + k * step]: a matrix or the transpose of one.
struct Left {
  const float* data;
  int64_t row, step;
};

template <int kRows, int kVectors>
void block(Left a, const float* b, float* c, int64_t depth, int64_t b_stride, int64_t c_stride, bool add) {
  Vec sums[kRows][kVectors];
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j) sums[i][j] = add ? Vec::loadu(c + i * c_stride + j * Vec::size()) : Vec(0.0F);
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[kVectors];
    for (int j = 0; j < kVectors; ++j) right[j] = Vec::loadu(b + k * b_stride + j * Vec::size());
    for (int i = 0; i < kRows; ++i) {
      const Vec left(a.data[i * a.row + k * a.step]);
      for (int j = 0; j < kVectors; ++j) sums[i][j] = at::vec::fmadd(left, right[j], sums[i][j]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j) sums[i][j].store(c + i * c_stride + j * Vec::size());
}

/// block<rows, vectors>, for sizes known only here.
template <int kRows = kBlockRows, int kVectors = kBlockVectors, class... Arguments>
void block_of(int64_t rows, int64_t vectors, Arguments... arguments) {
  if constexpr (kRows > 1)
    if (rows < kRows) return block_of<kRows - 1, kVectors>(rows, vectors, arguments...);
  if constexpr (kVectors > 1)
    if (vectors < kVectors) return block_of<kRows, kVectors - 1>(rows, vectors, arguments...);
  block<kRows, kVectors>(arguments...);
}

/// C [rows, columns] = A B, or C += A B; B is [depth, columns]. Rows of B and C are padded to whole vectors. An
/// element's sum runs over depth in order, so that it does not depend on which rows are multiplied together.
void gemm(int64_t rows, int64_t columns, int64_t depth, Left a, const float* b, float* c, bool add) {
  const int64_t stride = padded(columns), vectors = stride / Vec::size();
  const int64_t blocks = (vectors + kBlockVectors - 1) / kBlockVectors;
  for (int64_t j = 0; j < blocks; ++j) {
    const int64_t first = j * vectors / blocks, count = (j + 1) * vectors / blocks - first;
    for (int64_t i = 0; i < rows; i += kBlockRows) {
      block_of(std::min<int64_t>(kBlockRows, rows - i), count, Left{a.data + i * a.row, a.row, a.step},
               b + first * Vec::size(), c + i * stride + first * Vec::size(), depth, stride, stride, add);
    }
  }
}

}  // namespace
}  // namespace beit::CPU_CAPABILITY

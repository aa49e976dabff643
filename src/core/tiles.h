// Products of small matrices on one thread, and how work is shared out over threads so that sums are repeatable.
#pragma once

#include <ATen/native/CPUBlas.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/parallel.h"
#include "core/kernels.h"

namespace beit {

inline const float* in(const torch::Tensor& x) { return x.const_data_ptr<float>(); }
inline float* out(const torch::Tensor& x) { return x.mutable_data_ptr<float>(); }

enum class Into { kNew, kSum };  ///< what is in the result before the product: nothing, or what it is added to

/// c (+)= a b: [rows, depth] times [depth, columns], all row by row without gaps; by oneDNN (suits_tiles()).
inline void multiply(int64_t rows, int64_t columns, int64_t depth, const float* a, const float* b, float* c,
                     Into into = Into::kSum) {
  at::native::cpublas::brgemm(rows, columns, depth, depth, columns, columns, into == Into::kSum, a, b, c,
                              /*is_vnni=*/false);
}

/// to = the bias in each row.
inline void fill_rows(const float* bias, int64_t rows, int64_t width, float* to) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(bias, width, to + r * width);
}

/// to += the sum of the rows.
inline void add_rows(const float* x, int64_t rows, int64_t width, float* to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; ++i) to[i] += x[r * width + i];
  }
}

/// Rows that stay in a core's cache while they are worked on.
constexpr int64_t kTileRows = 64;

/// Items in as many parts as there are threads, each in order on a thread of its own: what a part sums up does not
/// depend on which thread is first.
struct Parts {
  int64_t items, count;

  explicit Parts(int64_t all_items)
      : items(all_items), count(std::clamp<int64_t>(all_items, 1, at::get_num_threads())) {}

  /// visit(part, begin, end) once a part.
  template <class Visit>
  void for_each_part(const Visit& visit) const {
    parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) visit(part, part * items / count, (part + 1) * items / count);
      at::native::cpublas::brgemm_release(/*is_vnni=*/false);
    });
  }

  /// visit(part, item) for each item.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for_each_part([&](int64_t part, int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) visit(part, item);
    });
  }

  /// visit(part, first row, rows) for tiles, as equal as may be, of items that are rows.
  template <class Visit>
  void for_each_tile(const Visit& visit) const {
    for_each_part([&](int64_t part, int64_t begin, int64_t end) {
      const int64_t rows = end - begin, tiles = (rows + kTileRows - 1) / kTileRows;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t first = begin + tile * rows / tiles;
        visit(part, first, begin + (tile + 1) * rows / tiles - first);
      }
    });
  }
};

/// [R, C] to [C, R].
inline torch::Tensor transposed(const torch::Tensor& x_RC) {
  const auto y_CR = at::empty({x_RC.size(1), x_RC.size(0)}, x_RC.options());
  kernels().transpose(in(x_RC), x_RC.size(0), x_RC.size(1), out(y_CR));
  return y_CR;
}

/// Memory of each part for itself, one piece after the other.
class Scratch {
 public:
  Scratch(int64_t parts, std::initializer_list<int64_t> sizes) {
    for (const int64_t size : sizes) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + size);
    all_ = at::empty({parts, ends_.back()}, at::kFloat);
  }
  float* operator()(int64_t part, size_t piece) const {
    return out(all_) + part * ends_.back() + (piece == 0 ? 0 : ends_[piece - 1]);
  }

 private:
  std::vector<int64_t> ends_;
  torch::Tensor all_;
};

/// What each part adds to a gradient, and their sum.
class PartSums {
 public:
  PartSums(int64_t parts, at::IntArrayRef sizes) {
    auto all = sizes.vec();
    all.insert(all.begin(), parts);
    parts_ = at::zeros(all, at::kFloat);
  }
  float* operator[](int64_t part) const { return out(parts_) + part * parts_.stride(0); }
  torch::Tensor sum() const { return parts_.size(0) == 1 ? parts_.squeeze(0) : parts_.sum(0); }

 private:
  torch::Tensor parts_;
};

}  // namespace beit

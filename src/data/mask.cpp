#include "data/mask.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "data/box.h"

namespace beit {
namespace {

struct Mask {
  explicit Mask(const Grid& grid) : columns(grid.columns), patches(static_cast<size_t>(grid.patches()), false) {}

  auto at(int64_t row, int64_t column) { return patches[static_cast<size_t>(row * columns + column)]; }

  int64_t count(const Box& block) {
    int64_t masked = 0;
    for (int64_t row = block.top; row < block.top + block.height; ++row) {
      for (int64_t column = block.left; column < block.left + block.width; ++column) masked += at(row, column) ? 1 : 0;
    }
    return masked;
  }

  void fill(const Box& block) {
    for (int64_t row = block.top; row < block.top + block.height; ++row) {
      for (int64_t column = block.left; column < block.left + block.width; ++column) at(row, column) = true;
    }
  }

  int64_t columns;
  std::vector<bool> patches;
};

// Adds one block of at most `missing` new patches; returns how many it added, 0 after ten vain tries.
int64_t add_block(Mask& mask, const Grid& grid, const MaskOptions& options, int64_t missing, Random& random) {
  const double log_aspect = std::log(options.min_aspect);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(static_cast<double>(options.min_block), static_cast<double>(missing));
    const double aspect = std::exp(random.uniform(log_aspect, -log_aspect));
    const auto height = static_cast<int64_t>(std::nearbyint(std::sqrt(area * aspect)));
    const auto width = static_cast<int64_t>(std::nearbyint(std::sqrt(area / aspect)));
    if (height >= grid.rows || width >= grid.columns) continue;
    const int64_t top = random.integer(0, grid.rows - height + 1);
    const Box block{top, random.integer(0, grid.columns - width + 1), height, width};
    const int64_t added = height * width - mask.count(block);
    if (added < 1 || added > missing) continue;
    mask.fill(block);
    return added;
  }
  return 0;
}

}  // namespace

torch::Tensor block_mask(const Grid& grid, const MaskOptions& options, Random& random) {
  require(grid.rows > 0 && grid.columns > 0 && options.masked >= 0 && options.masked <= grid.patches(),
          "mask: expected 0 to {} masked patches on a grid of {} x {}, got {}", grid.patches(), grid.rows, grid.columns,
          options.masked);
  require(options.min_block >= 1 && options.min_aspect > 0.0 && options.min_aspect <= 1.0,
          "mask: expected a smallest block of at least 1 and a least aspect in (0, 1], got {} and {}",
          options.min_block, options.min_aspect);
  Mask mask(grid);
  int64_t missing = options.masked;
  while (missing > 0) {
    const int64_t added = add_block(mask, grid, options, missing, random);
    if (added == 0) break;
    missing -= added;
  }
  if (missing > 0) {
    for (const int64_t patch : random.permutation(grid.patches())) {
      if (missing == 0) break;
      if (mask.patches[static_cast<size_t>(patch)]) continue;
      mask.patches[static_cast<size_t>(patch)] = true;
      --missing;
    }
  }
  auto mask_N = torch::empty({grid.patches()}, torch::kBool);
  std::copy(mask.patches.begin(), mask.patches.end(), mask_N.mutable_data_ptr<bool>());
  return mask_N;
}

}  // namespace beit

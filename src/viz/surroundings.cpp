#include "viz/surroundings.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace beit {
namespace {

namespace F = torch::nn::functional;

constexpr int64_t kOutline = 2;  // pixels
constexpr Ink kMarkEdge{30, 30, 30};

}  // namespace

Surroundings surroundings_of(int64_t patch, const Grid& grid, int64_t context) {
  require(patch >= 0 && patch < grid.patches() && context >= 0,
          "picture: expected one of {} patches and surroundings of 0 patches or more, got patch {} and {}",
          grid.patches(), patch, context);
  const int64_t row = patch / grid.columns, column = patch % grid.columns;
  const Grid shown{std::min(grid.rows, 2 * context + 1), std::min(grid.columns, 2 * context + 1)};
  const int64_t first_row = std::clamp<int64_t>(row - context, 0, grid.rows - shown.rows);
  const int64_t first_column = std::clamp<int64_t>(column - context, 0, grid.columns - shown.columns);
  return {first_row, first_column, shown, row - first_row, column - first_column};
}

torch::Tensor cut_surroundings(const torch::Tensor& pixels_HW3, const Grid& grid, const Surroundings& around) {
  require(pixels_HW3.dim() == 3 && pixels_HW3.size(2) == 3 && pixels_HW3.size(0) % grid.rows == 0 &&
              pixels_HW3.size(1) % grid.columns == 0,
          "picture: expected images [H, W, 3] that {} x {} patches divide, got {}", grid.rows, grid.columns,
          fmt::join(pixels_HW3.sizes(), " x "));
  const int64_t height = pixels_HW3.size(0) / grid.rows, width = pixels_HW3.size(1) / grid.columns;
  return pixels_HW3.slice(0, around.first_row * height, (around.first_row + around.shown.rows) * height)
      .slice(1, around.first_column * width, (around.first_column + around.shown.columns) * width);
}

torch::Tensor outlined_patch(const torch::Tensor& part_HW3, const Surroundings& around, int64_t side, const Ink& mark) {
  const auto large_13HW =
      F::interpolate(part_HW3.permute({2, 0, 1}).unsqueeze(0).to(torch::kFloat32), F::InterpolateFuncOptions()
                                                                                       .size(std::vector{side, side})
                                                                                       .mode(torch::kBicubic)
                                                                                       .align_corners(false)
                                                                                       .antialias(true));
  const auto picture_HW3 = large_13HW[0].permute({1, 2, 0}).round().clamp(0, 255).to(torch::kUInt8).contiguous();
  const int64_t top = around.row * side / around.shown.rows, left = around.column * side / around.shown.columns;
  const int64_t height = side / around.shown.rows, width = side / around.shown.columns;
  outline_rectangle(picture_HW3, top - 1, left - 1, height + 2, width + 2, 1, kMarkEdge);
  outline_rectangle(picture_HW3, top, left, height, width, kOutline, mark);
  return picture_HW3;
}

}  // namespace beit

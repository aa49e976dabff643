#include "viz/tiles.h"

#include <algorithm>

#include "base/error.h"

namespace beit {
namespace {

constexpr int64_t kGap = 4, kWideGap = 20;  // pixels between an image's views, and between images
constexpr int64_t kImagesPerRow = 2;
constexpr uint8_t kPaper = 255;

}  // namespace

torch::Tensor over_patches(const torch::Tensor& values_BNC, const Grid& grid, int64_t height, int64_t width) {
  require(values_BNC.dim() == 3 && values_BNC.size(1) == grid.patches() && height % grid.rows == 0 &&
              width % grid.columns == 0,
          "picture: expected values [B, {}, C] for {}x{} patches that divide {}x{} pixels, got [{}]", grid.patches(),
          grid.rows, grid.columns, height, width, fmt::join(values_BNC.sizes(), ", "));
  return values_BNC.transpose(1, 2)
      .unflatten(2, {grid.rows, grid.columns})
      .repeat_interleave(height / grid.rows, 2)
      .repeat_interleave(width / grid.columns, 3);
}

torch::Tensor side_by_side(const std::vector<torch::Tensor>& views_BCHW) {
  require(!views_BCHW.empty() && views_BCHW.front().dim() == 4 && views_BCHW.front().size(1) == 3 &&
              views_BCHW.front().numel() > 0,
          "picture: expected at least one image [3, H, W] to show, got {}",
          views_BCHW.empty() ? "none" : fmt::format("[{}]", fmt::join(views_BCHW.front().sizes(), ", ")));
  const auto sizes = views_BCHW.front().sizes();
  const int64_t images = sizes[0], height = sizes[2], width = sizes[3];
  const int64_t columns = std::min(images, kImagesPerRow), rows = (images + columns - 1) / columns;
  const int64_t group = std::ssize(views_BCHW) * (width + kGap) - kGap;
  auto canvas_HWC =
      torch::full({rows * (height + kGap) - kGap, columns * (group + kWideGap) - kWideGap, 3}, kPaper, torch::kUInt8);
  int64_t offset = 0;
  for (const torch::Tensor& view_BCHW : views_BCHW) {
    require(view_BCHW.sizes() == sizes, "picture: expected views of one shape [{}], got [{}]", fmt::join(sizes, ", "),
            fmt::join(view_BCHW.sizes(), ", "));
    const auto pixels_BHWC = view_BCHW.detach()
                                 .to(torch::kCPU, torch::kFloat32)
                                 .mul(255)
                                 .round()
                                 .clamp(0, 255)
                                 .to(torch::kUInt8)
                                 .permute({0, 2, 3, 1});
    for (int64_t image = 0; image < images; ++image) {
      const int64_t top = image / columns * (height + kGap), left = image % columns * (group + kWideGap) + offset;
      canvas_HWC.slice(0, top, top + height).slice(1, left, left + width).copy_(pixels_BHWC[image]);
    }
    offset += width + kGap;
  }
  return canvas_HWC;
}

}  // namespace beit

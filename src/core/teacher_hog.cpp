#include "core/teacher_hog.h"

#include <numbers>
#include <vector>

#include "base/error.h"
#include "core/regrid.h"
#include "core/teacher_pixels.h"

namespace beit {
namespace {

constexpr double kLeastContrast = 1.0 / 255.0;

}  // namespace

torch::Tensor hog(const torch::Tensor& images_BCHW, const Grid& grid) {
  require(images_BCHW.dim() == 4 && images_BCHW.size(1) == 3 && images_BCHW.size(2) % grid.rows == 0 &&
              images_BCHW.size(3) % grid.columns == 0 && images_BCHW.size(2) >= 4 * grid.rows &&
              images_BCHW.size(3) >= 4 * grid.columns,
          "hog: expected images [B, 3, H, W] of {}x{} patches of at least 4x4 pixels, got [{}]; check --image-size and "
          "--patch-size",
          grid.rows, grid.columns, fmt::join(images_BCHW.sizes(), ", "));
  torch::NoGradGuard no_grad;
  const auto x = torch::replication_pad2d(images_BCHW.to(torch::kFloat32), {1, 1, 1, 1});
  const int64_t height = images_BCHW.size(2), width = images_BCHW.size(3);
  const auto rows = x.slice(2, 1, height + 1), columns = x.slice(3, 1, width + 1);
  const auto dx = rows.slice(3, 2) - rows.slice(3, 0, width), dy = columns.slice(2, 2) - columns.slice(2, 0, height);
  const auto length = torch::hypot(dx, dy).mul_(0.5);
  // In bins, [0, 9]: atan2 of opposite gradients differ by nine bins.
  const auto angle =
      torch::atan2(dy, dx).mul_(kHogOrientations / std::numbers::pi).remainder_(double{kHogOrientations});

  std::vector<torch::Tensor> bins;
  for (int64_t k = 0; k < kHogOrientations; ++k) {
    const auto offset = (angle - k).abs_();
    const auto share = (1 - torch::minimum(offset, kHogOrientations - offset)).clamp_min_(0);
    bins.push_back(torch::adaptive_avg_pool2d(share.mul_(length), {grid.rows * kHogCells, grid.columns * kHogCells}));
  }
  const int64_t images = images_BCHW.size(0);
  const auto votes =
      torch::stack(bins, -1).view({images, 3, grid.rows, kHogCells, grid.columns, kHogCells, kHogOrientations});
  const auto blocks = votes.permute({0, 2, 4, 1, 3, 5, 6}).reshape({images, grid.patches(), 3, kHogWidth / 3});
  const auto norm = (blocks.square().sum(-1, true) + kLeastContrast * kLeastContrast).sqrt_();
  return (blocks / norm).flatten(2);
}

HogTeacher::HogTeacher(const TeacherOptions& options, const Grid& student_grid)
    : grid_(student_grid), patch_size_(described_patch_size(options, student_grid)) {
  require(patch_size_ >= 4,
          "hog teacher: expected patches of at least 4 pixels, got {}; change --patch-size or "
          "--teacher-image-size",
          patch_size_);
}

torch::Tensor HogTeacher::target(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  return hog(resize_images(images_BCHW, grid_.rows * patch_size_, grid_.columns * patch_size_), grid_);
}

}  // namespace beit

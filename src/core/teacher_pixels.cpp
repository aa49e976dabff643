#include "core/teacher_pixels.h"

#include <algorithm>

#include "base/error.h"
#include "core/regrid.h"

namespace beit {

torch::Tensor normalised_patches(const torch::Tensor& images_BCHW, const Grid& grid) {
  require(images_BCHW.dim() == 4 && images_BCHW.size(1) == 3 && images_BCHW.size(2) >= grid.rows &&
              images_BCHW.size(2) % grid.rows == 0 &&
              images_BCHW.size(3) == images_BCHW.size(2) / grid.rows * grid.columns,
          "pixels: expected images [B, 3, H, W] of {}x{} square patches, got [{}]; check --image-size and --patch-size",
          grid.rows, grid.columns, fmt::join(images_BCHW.sizes(), ", "));
  torch::NoGradGuard no_grad;
  const int64_t images = images_BCHW.size(0), patch = images_BCHW.size(2) / grid.rows;
  const auto patches_BND = images_BCHW.to(torch::kFloat32)
                               .reshape({images, 3, grid.rows, patch, grid.columns, patch})
                               .permute({0, 2, 4, 3, 5, 1})
                               .reshape({images, grid.patches(), patch * patch * 3});
  const auto centred_BND = patches_BND - patches_BND.mean(-1, true);
  return centred_BND / (patches_BND.var(-1, /*unbiased=*/true, /*keepdim=*/true) + 1e-6).sqrt_();
}

int64_t described_patch_size(const TeacherOptions& options, const Grid& student_grid) {
  const int64_t shorter = std::min(student_grid.rows, student_grid.columns);
  require(options.image_size >= 0 && options.image_size % shorter == 0,
          "{} teacher: expected an image size that is a multiple of the grid's {} patches, got {}; change "
          "--teacher-image-size",
          options.kind, shorter, options.image_size);
  const int64_t patch_size = options.image_size > 0 ? options.image_size / shorter : options.patch_size;
  require(patch_size > 0, "{} teacher: expected a positive patch size, got {}; change --patch-size", options.kind,
          patch_size);
  return patch_size;
}

PixelTeacher::PixelTeacher(const TeacherOptions& options, const Grid& student_grid)
    : grid_(student_grid), patch_size_(described_patch_size(options, student_grid)) {}

torch::Tensor PixelTeacher::target(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  return normalised_patches(resize_images(images_BCHW, grid_.rows * patch_size_, grid_.columns * patch_size_), grid_);
}

}  // namespace beit

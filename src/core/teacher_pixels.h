// Each patch's own pixels as teacher (He et al. 2022, section 3, "reconstruction target").
// Shape letters: B images, H height, W width, N patches, D = 3 * patch * patch.
#pragma once

#include <torch/torch.h>

#include "core/teacher.h"

namespace beit {

/// [B, N, D]: the pixels of each patch, in this order row, column, colour channel, less their mean and divided by
/// sqrt(variance + 1e-6), both over the whole patch, the variance with D - 1. A patch of one value gives zeros.
/// Images [B, 3, H, W], H and W the grid times one patch size of at least 1; Error otherwise.
torch::Tensor normalised_patches(const torch::Tensor& images_BCHW, const Grid& grid);

/// Pixels along the side of a patch that a hand-made target describes: `image_size` over the grid's shorter side, or
/// the options' patch_size. Error where they do not divide or are not positive.
int64_t described_patch_size(const TeacherOptions& options, const Grid& student_grid);

class PixelTeacher : public Teacher {
 public:
  PixelTeacher(const TeacherOptions& options, const Grid& student_grid);
  torch::Tensor target(const torch::Tensor& images_BCHW) override;
  int64_t width() const override { return 3 * patch_size_ * patch_size_; }

 private:
  Grid grid_;
  int64_t patch_size_;
};

}  // namespace beit

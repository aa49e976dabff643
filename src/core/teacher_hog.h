// Histograms of oriented gradients as teacher (Dalal and Triggs 2005; as a target of masked prediction: MaskFeat, Wei
// et al. 2022).
// Shape letters: B images, H height, W width, N patches.
#pragma once

#include <torch/torch.h>

#include "core/teacher.h"

namespace beit {

inline constexpr int64_t kHogOrientations = 9, kHogCells = 2;  // cells along each side of a patch
inline constexpr int64_t kHogWidth = 3 * kHogCells * kHogCells * kHogOrientations;

/// [B, N, 108]: for each patch of the grid and in this order colour channel, row and column of the cell, orientation.
///
/// The gradient of each colour channel is the difference of the two neighbours, halved; the picture's border is
/// repeated. Its orientation, without sign, is the angle of (d/dx, d/dy) modulo 180 degrees; bin k is centred at 20 k
/// degrees, so a vertical edge (gradient along x) falls into bin 0. Each pixel votes with its gradient's length for the
/// two nearest bins, linearly. A cell is a quarter of the patch (with an odd patch size, the middle row and column
/// count in both neighbours) and holds the mean of its votes. A block is the patch: the 36 numbers of each colour
/// channel are divided by sqrt(sum of squares + (1/255)^2), so that a patch without contrast gives zeros.
///
/// Images [B, 3, H, W] in [0, 1], H and W multiples of the grid, at least 4 pixels a patch; Error otherwise.
torch::Tensor hog(const torch::Tensor& images_BCHW, const Grid& grid);

class HogTeacher : public Teacher {
 public:
  HogTeacher(const TeacherOptions& options, const Grid& student_grid);
  torch::Tensor target(const torch::Tensor& images_BCHW) override;
  int64_t width() const override { return kHogWidth; }

 private:
  Grid grid_;
  int64_t patch_size_;
};

}  // namespace beit

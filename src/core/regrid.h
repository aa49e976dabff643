// Between sizes and grids: pictures for a teacher, its map for the student, position embeddings for another grid.
// Shape letters: B images, C channels, N patches, T = N + 1 tokens (CLS first), D width.
#pragma once

#include <torch/torch.h>

#include "base/grid.h"

namespace beit {

/// Images in [0, 1] to float32 [B, 3, height, width] in [0, 1]: bicubic, anti-aliased where they shrink, as Pillow's
/// filter. Error unless they are [B, 3, H, W] of a floating type.
torch::Tensor resize_images(const torch::Tensor& images_BCHW, int64_t height, int64_t width);

/// [B, N, D] on one grid to another: bilinear, anti-aliased where it shrinks. Equal grids return the input.
torch::Tensor resize_map(const torch::Tensor& map_BND, const Grid& from, const Grid& to);

/// A position embedding [1, T, D] for another grid: bicubic, CLS and dtype unchanged (golden/resize_positions).
/// `antialias`: where it shrinks it takes in every position, as only DINOv2 with registers does.
torch::Tensor resize_positions(const torch::Tensor& positions_1TD, const Grid& from, const Grid& to,
                               bool antialias = false);

/// The grid of what a teacher sees: the student's proportions; as many patches along the shorter side as `image_size`
/// holds (0: as `own` has). Error where image_size is no multiple of the patch.
Grid teacher_grid(int64_t image_size, int64_t patch_size, const Grid& own, const Grid& student);

}  // namespace beit

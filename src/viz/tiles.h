// Images and maps of their patches, side by side in one picture.
// Shape letters: B images, N patches of an image, H and W pixels, C channels.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "base/grid.h"

namespace beit {

/// Each patch's values over all of its pixels: [B, N, C] to [B, C, height, width]. Error unless there are as many
/// patches as the grid has and it divides the size.
torch::Tensor over_patches(const torch::Tensor& values_BNC, const Grid& grid, int64_t height, int64_t width);

/// Of each image its place in all of `views_BCHW` (float, [B, 3, H, W] in [0, 1], on any device) in one row, two images
/// a row. Returns uint8 [H, W, 3] on the CPU. Error for views of another form.
torch::Tensor side_by_side(const std::vector<torch::Tensor>& views_BCHW);

}  // namespace beit

// What the tokenizer makes of the teacher's features.
// Shape letters: B images, N patches of an image, F width of a feature, H and W pixels, C = 3 channels.
#pragma once

#include <torch/torch.h>

#include "base/grid.h"

namespace beit {

/// Of each image: the image; the teacher's features in colours; the predicted ones in the same colours. Features are
/// taken at unit length, as only their direction is learnt (cosine loss). Red, green and blue are the first three
/// principal components of the teacher's over all images shown, from its 2nd to its 98th percentile; where F is less
/// than 3, the channels without a component are grey. images_BCHW: float in [0, 1]; target_BNF and predicted_BNF:
/// float. Any device. Returns uint8 [H, W, C] on the CPU. Error for other shapes.
torch::Tensor feature_picture(const torch::Tensor& images_BCHW, const torch::Tensor& target_BNF,
                              const torch::Tensor& predicted_BNF, const Grid& grid);

/// What a histogram shows of how often each code was used, int64 [K]: log10(1 + uses), float64 [K]. Uses spread over
/// orders of magnitude, so that a histogram of themselves is one bar; here unused codes stand apart at 0, and a
/// codebook in good use is one narrow hill.
torch::Tensor log_uses(const torch::Tensor& counts_K);

}  // namespace beit

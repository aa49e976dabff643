// Bilinear resizing without anti-aliasing, equal to OpenCV's INTER_LINEAR at every pixel: what mmsegmentation resizes
// images by. Weights of 11 bits; where both sides are exactly halved, the mean of four pixels. One thread.
#pragma once

#include <torch/torch.h>

#include "data/box.h"

namespace beit {

/// `window` of what the pixels become when they are resized to `size`.
torch::Tensor resize_bilinear(const torch::Tensor& pixels_HWC, const ImageSize& size, const Box& window);

}  // namespace beit

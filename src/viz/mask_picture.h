// What masked image modelling foretells rightly.
// Shape letters: B images, N patches of an image, M masked patches of all images, H and W pixels, C = 3 channels.
#pragma once

#include <torch/torch.h>

#include "base/grid.h"

namespace beit {

/// Of each image: the image; the image with its masked patches grey; and on a pale image its masked patches in green
/// where the code was foretold rightly, in red where not. images_BCHW: float in [0, 1]; mask_BN: bool; right_M: bool,
/// of the masked patches image by image, as MimLogits. Any device. Returns uint8 [H, W, C] on the CPU. Error for other
/// shapes.
torch::Tensor mask_picture(const torch::Tensor& images_BCHW, const torch::Tensor& mask_BN, const torch::Tensor& right_M,
                           const Grid& grid);

}  // namespace beit

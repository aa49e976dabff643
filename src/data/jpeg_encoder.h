// Pixels to JPEG files, through libjpeg-turbo: small pictures for pages.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace beit {

/// The pixels, uint8 [H, W, 3], as a JPEG file of that quality, from 1 to 100, colours at half the resolution. Error
/// for other pixels, for a side above 65,500 and for another quality.
std::vector<uint8_t> encode_jpeg(const torch::Tensor& pixels_HWC, int quality = 85);

}  // namespace beit

// JPEG through libjpeg: slow integer DCT and smooth upsampling, as Pillow decodes.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace beit {

/// As decode_image(), for bytes that start like a JPEG file.
torch::Tensor decode_jpeg(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace beit

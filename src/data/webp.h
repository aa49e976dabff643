// WebP through libwebp.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "data/image.h"

namespace beit {

/// As decode_image(), for bytes that start like a WebP file. Of an animation: the first frame, on black.
torch::Tensor decode_webp(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels = kMostPixels);

}  // namespace beit

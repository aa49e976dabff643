// PNG through libpng.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace beit {

/// As decode_image(), for bytes that start like a PNG file.
torch::Tensor decode_png(std::span<const uint8_t> bytes, std::string_view name);

/// The pixels as they are stored, uint8 [H, W]: grey values or palette indices of 1 to 8 bits, not scaled. Error for
/// colours, an alpha channel and 16 bits.
torch::Tensor decode_png_indices(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace beit

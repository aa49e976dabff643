// PNG through libpng.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/image.h"

namespace beit {

/// As decode_image(), for bytes that start like a PNG file.
torch::Tensor decode_png(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels = kMostPixels);

/// The pixels as they are stored, uint8 [H, W]: grey values or palette indices of 1 to 8 bits, not scaled. Error for
/// colours, an alpha channel and 16 bits.
torch::Tensor decode_png_indices(std::span<const uint8_t> bytes, std::string_view name);

/// Such pixels as a PNG file with these colours: decode_png_indices() gives them back, other readers show the colours.
/// Error unless they are contiguous uint8 [H, W] on the CPU.
std::vector<uint8_t> encode_png_indices(const torch::Tensor& indices_HW, const std::array<Color, 256>& palette);

}  // namespace beit

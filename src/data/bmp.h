// BMP: no library in Debian reads it, so this level does.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "data/image.h"

namespace beit {

/// As decode_image(), for bytes that start like a BMP file: headers of OS/2 1 and of Windows 3 to 5; 1, 4 and 8 bits
/// with a palette, also run-length encoded; 16 bits of 5-5-5 or 5-6-5; 24 and 32 bits; bottom-up or top-down. An index
/// beyond the palette is black. Unlike in Pillow, which misreads both, an odd absolute run of 4 bits is followed by its
/// padding, and indices of 4 or 8 bits may have a palette of greys alone.
torch::Tensor decode_bmp(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels = kMostPixels);

}  // namespace beit

// GIF through giflib.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "data/image.h"

namespace beit {

/// As decode_image(), for bytes that start like a GIF file: the first frame. Where it leaves the screen bare: its
/// transparent colour, which has its own red, green and blue, else the first colour. The screen grows where the frame
/// reaches beyond it; without any palette the indices are grey values; an index beyond the palette is black.
torch::Tensor decode_gif(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels = kMostPixels);

}  // namespace beit

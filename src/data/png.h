// PNG through libpng.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace beit {

/// As decode_image(), for bytes that start like a PNG file.
torch::Tensor decode_png(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace beit

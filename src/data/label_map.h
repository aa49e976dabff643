// Label maps of semantic segmentation: uint8 [H, W], contiguous, the class of each pixel; kIgnoredLabel: none.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "data/box.h"

namespace beit {

inline constexpr uint8_t kIgnoredLabel = 255;

/// Decodes a PNG file whose pixels are the classes themselves: grey values or palette indices of 1 to 8 bits, neither
/// scaled nor turned into colours. Error, naming `name`, for colours, 16 bits, an alpha channel, other formats, and as
/// decode_image().
torch::Tensor decode_label_map(std::span<const uint8_t> bytes, std::string_view name);

/// For ADE20K, whose 0 is what belongs to no class: 0 becomes kIgnoredLabel, the others one less; kIgnoredLabel stays.
void drop_zero_label_(const torch::Tensor& labels_HW);

/// Nearest neighbour as OpenCV's INTER_NEAREST: output row y is row floor(y * in / out).
torch::Tensor resize_labels(const torch::Tensor& labels_HW, const ImageSize& size);

/// Error, starting with `where`, unless `labels_HW` is what this level calls a label map, with at least one pixel.
void require_labels(const torch::Tensor& labels_HW, std::string_view where);

}  // namespace beit

// Encoded images to pixels and back. Pixels are uint8 [H, W, 3], RGB, contiguous, everywhere in this level.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace beit {

/// Larger images are refused before memory is taken for them; Pillow's limit.
inline constexpr int64_t kMostPixels = 178'956'970;

/// What an image is refused with whose header states too many pixels, or none.
class TooManyPixels : public Error {
 public:
  using Error::Error;
};

using Color = std::array<uint8_t, 3>;  ///< red, green, blue

/// What the first bytes say.
enum class ImageFormat { kUnknown, kJpeg, kPng, kWebp, kGif, kBmp };
ImageFormat image_format(std::span<const uint8_t> bytes);

/// Decodes JPEG, PNG, WebP, GIF or BMP, told apart by content; of an animation the first frame. The pixels are those of
/// Pillow's `convert("RGB")`: grey and palette spread out, alpha dropped, the high byte of 16 bits of colour, but 16
/// bits of grey cut off at 255, CMYK by 255 - c - k + ck / 255; orientation tags are ignored (data/orientation.h).
/// Error, naming `name`, for any other format and for images that are damaged or truncated; TooManyPixels for those of
/// more than `most_pixels`, before memory is taken for them.
torch::Tensor decode_image(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels = kMostPixels);

/// The pixels as a PNG file.
std::vector<uint8_t> encode_png(const torch::Tensor& pixels_HWC);

/// Error, starting with `where`, unless `pixels_HWC` is what this level calls pixels, with at least one of them.
void require_pixels(const torch::Tensor& pixels_HWC, std::string_view where);

/// TooManyPixels unless an image of this size may be decoded.
void require_size(int64_t height, int64_t width, std::string_view name, int64_t most_pixels = kMostPixels);

}  // namespace beit

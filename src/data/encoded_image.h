// An image as its file's bytes, of which no more is decoded than a view wants.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "data/box.h"
#include "data/image.h"
#include "data/jpeg.h"

namespace beit {

/// How training decodes.
enum class Decoding {
  kFast,  ///< JPEG: the part that a crop shows, at the smallest scale that serves it
  kExact  ///< all of the pixels: Pillow's views, bit by bit
};

/// Decoded when it is asked for; a JPEG file in parts, other formats and what is turned upright whole. The bytes must
/// outlive it. Used by one thread. Errors as of decode_image(); a truncated file is refused by the constructor or by
/// any decode().
class EncodedImage {
 public:
  /// Reads the header. `name` is what errors call the image. With `upright`, the pixels are turned as the file's Exif
  /// data says (orientation.h). TooManyPixels for an image of more than `most_pixels`.
  EncodedImage(std::span<const uint8_t> bytes, std::string_view name, bool upright = false,
               int64_t most_pixels = kMostPixels);

  /// Of the pixels.
  ImageSize size() const { return size_; }

  /// All pixels, [H, W, 3]; the caller's own.
  torch::Tensor decode();

  /// At least the pixels that touch `part`, equal to those of decode().
  DecodedPart decode(const Box& part);

  /// Likewise, perhaps at a smaller scale, at which `part` still has `at_least` that size.
  DecodedPart decode(const Box& part, const ImageSize& at_least);

 private:
  torch::Tensor decode_whole() const;
  torch::Tensor take_pixels();

  std::span<const uint8_t> bytes_;
  std::string name_;
  int orientation_;
  int64_t most_pixels_;
  std::optional<JpegFile> jpeg_;
  torch::Tensor pixels_HWC_;  // of other formats, until they are handed out
  ImageSize size_;
};

}  // namespace beit

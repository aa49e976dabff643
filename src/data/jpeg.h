// JPEG through libjpeg-turbo: slow integer DCT and smooth upsampling, as Pillow decodes.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "data/box.h"
#include "data/image.h"

namespace beit {

/// Pixels of an image, or of a part of it, or of that at a smaller scale.
struct DecodedPart {
  torch::Tensor pixels_HWC;
  double scale = 1.0;         ///< pixels a pixel of the image
  int64_t top = 0, left = 0;  ///< of the first pixel, at that scale
};

/// The bytes must outlive it. Used by one thread.
class JpegFile {
 public:
  /// Reads the header. Error naming `name` where that or the file's end is missing; TooManyPixels as of decode_image().
  JpegFile(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels = kMostPixels);
  ~JpegFile();
  JpegFile(JpegFile&&) noexcept;
  JpegFile& operator=(JpegFile&&) noexcept;

  ImageSize size() const;

  /// All of the pixels. Error where they do not decode.
  torch::Tensor decode();

  /// At least the pixels that touch `part`, those of decode(). Saves the work on columns and rows that are not wanted.
  DecodedPart decode(const Box& part);

  /// Likewise, from a DCT of fewer coefficients: 1/8, 1/4 or 1/2 of the size where `part` is still `at_least` that size
  /// then. (Other scales decode slower than all of the pixels do.)
  DecodedPart decode(const Box& part, const ImageSize& at_least);

 private:
  class Reader;
  [[noreturn]] void damaged() const;
  DecodedPart decode(const Box& part, unsigned eighths);
  std::optional<DecodedPart> try_decode(const Box& part, unsigned eighths);

  std::unique_ptr<Reader> reader_;
  std::string name_;
};

}  // namespace beit

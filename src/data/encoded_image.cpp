#include "data/encoded_image.h"

#include <utility>

#include "data/image.h"
#include "data/orientation.h"

namespace beit {

EncodedImage::EncodedImage(std::span<const uint8_t> bytes, std::string_view name, bool upright, int64_t most_pixels)
    : bytes_(bytes), name_(name), orientation_(upright ? exif_orientation(bytes) : 1), most_pixels_(most_pixels) {
  if (image_format(bytes) == ImageFormat::kJpeg && orientation_ == 1) {
    jpeg_.emplace(bytes, name, most_pixels);
    size_ = jpeg_->size();
  } else {
    pixels_HWC_ = decode_whole();
    size_ = {pixels_HWC_.size(0), pixels_HWC_.size(1)};
  }
}

torch::Tensor EncodedImage::decode_whole() const {
  return apply_orientation(decode_image(bytes_, name_, most_pixels_), orientation_);
}

torch::Tensor EncodedImage::take_pixels() {
  return pixels_HWC_.defined() ? std::exchange(pixels_HWC_, {}) : decode_whole();
}

torch::Tensor EncodedImage::decode() { return jpeg_ ? jpeg_->decode() : take_pixels(); }

DecodedPart EncodedImage::decode(const Box& part) { return jpeg_ ? jpeg_->decode(part) : DecodedPart{take_pixels()}; }

DecodedPart EncodedImage::decode(const Box& part, const ImageSize& at_least) {
  return jpeg_ ? jpeg_->decode(part, at_least) : DecodedPart{take_pixels()};
}

}  // namespace beit

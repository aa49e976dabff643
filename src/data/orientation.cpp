#include "data/orientation.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint32_t kOrientationTag = 0x0112;

// Bytes from `offset` on, at most `count`: fewer where there are no more.
Bytes part(Bytes bytes, size_t offset, size_t count) {
  if (offset >= bytes.size()) return {};
  return bytes.subspan(offset, std::min(count, bytes.size() - offset));
}

bool starts_with(Bytes bytes, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).starts_with(text);
}

// A number of 1 to 4 bytes; 0 beyond the end.
uint32_t number(Bytes bytes, size_t offset, size_t count, bool big_endian) {
  const Bytes digits = part(bytes, offset, count);
  if (digits.size() < count) return 0;
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | digits[big_endian ? i : count - 1 - i];
  return value;
}

// Exif data is a TIFF file: the first directory's entries of 12 bytes.
int orientation_of_tiff(Bytes tiff) {
  const bool big_endian = starts_with(tiff, "MM");
  if (!big_endian && !starts_with(tiff, "II")) return 1;
  const size_t directory = number(tiff, 4, 4, big_endian);
  const uint32_t entries = number(tiff, directory, 2, big_endian);
  for (size_t i = 0; i < entries; ++i) {
    const Bytes entry = part(tiff, directory + 2 + i * 12, 12);
    if (entry.size() < 12) return 1;
    if (number(entry, 0, 2, big_endian) != kOrientationTag || number(entry, 4, 4, big_endian) != 1) continue;
    const uint32_t type = number(entry, 2, 2, big_endian);  // 1: a byte, 3: two, 4: four
    const size_t size = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : 0;
    const uint32_t value = number(entry, 8, size, big_endian);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

int orientation_of_exif(Bytes exif) {
  constexpr std::string_view kStart("Exif\0\0", 6);
  return orientation_of_tiff(starts_with(exif, kStart) ? exif.subspan(kStart.size()) : exif);
}

int orientation_of_jpeg(Bytes bytes) {
  size_t at = 2;
  while (at + 4 <= bytes.size() && bytes[at] == 0xff) {
    const uint8_t marker = bytes[at + 1];
    if (marker == 0xff) {  // padding
      ++at;
      continue;
    }
    if (marker == 0xda || marker == 0xd9) break;  // pixels, or the end
    const bool has_length = marker != 0x01 && (marker < 0xd0 || marker > 0xd8);
    const size_t length = has_length ? number(bytes, at + 2, 2, true) : 0;
    if (has_length && length < 2) break;
    const Bytes segment = part(bytes, at + 4, has_length ? length - 2 : 0);
    if (marker == 0xe1 && starts_with(segment, std::string_view("Exif\0\0", 6))) return orientation_of_exif(segment);
    at += 2 + length;
  }
  return 1;
}

int orientation_of_png(Bytes bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const size_t length = number(bytes, at, 4, true);
    if (starts_with(part(bytes, at + 4, 4), "eXIf")) return orientation_of_exif(part(bytes, at + 8, length));
    at += 12 + length;
  }
  return 1;
}

int orientation_of_webp(Bytes bytes) {
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const size_t length = number(bytes, at + 4, 4, false);
    if (starts_with(part(bytes, at, 4), "EXIF")) return orientation_of_exif(part(bytes, at + 8, length));
    at += 8 + length + length % 2;
  }
  return 1;
}

}  // namespace

int exif_orientation(std::span<const uint8_t> bytes) {
  switch (image_format(bytes)) {
    case ImageFormat::kJpeg: return orientation_of_jpeg(bytes);
    case ImageFormat::kPng: return orientation_of_png(bytes);
    case ImageFormat::kWebp: return orientation_of_webp(bytes);
    case ImageFormat::kGif:
    case ImageFormat::kBmp:
    case ImageFormat::kUnknown: break;
  }
  return 1;
}

torch::Tensor apply_orientation(const torch::Tensor& pixels_HWC, int orientation) {
  require_pixels(pixels_HWC, "orientation");
  require(orientation >= 1 && orientation <= 8, "orientation: expected 1 to 8, got {}", orientation);
  if (orientation == 1) return pixels_HWC;
  const bool is_turned = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t height = pixels_HWC.size(0), width = pixels_HWC.size(1);
  auto out_HWC = torch::empty({is_turned ? width : height, is_turned ? height : width, 3}, torch::kUInt8);
  const auto* in = pixels_HWC.const_data_ptr<uint8_t>();
  auto* out = out_HWC.mutable_data_ptr<uint8_t>();
  for (int64_t row = 0; row < out_HWC.size(0); ++row) {
    for (int64_t column = 0; column < out_HWC.size(1); ++column) {
      const int64_t x = is_turned ? row : column, y = is_turned ? column : row;
      const int64_t from_x = from_right ? width - 1 - x : x, from_y = from_below ? height - 1 - y : y;
      out = std::copy_n(in + (from_y * width + from_x) * 3, 3, out);
    }
  }
  return out_HWC;
}

}  // namespace beit

#include "data/image.h"

#include <png.h>

#include <array>

#include "base/error.h"
#include "data/bmp.h"
#include "data/gif.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "data/webp.h"

namespace beit {

ImageFormat image_format(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\xff\xd8\xff")) return ImageFormat::kJpeg;
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return ImageFormat::kPng;
  if (text.size() >= 12 && text.starts_with("RIFF") && text.substr(8, 4) == "WEBP") return ImageFormat::kWebp;
  if (text.starts_with("GIF87a") || text.starts_with("GIF89a")) return ImageFormat::kGif;
  if (text.starts_with("BM")) return ImageFormat::kBmp;
  return ImageFormat::kUnknown;
}

torch::Tensor decode_image(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels) {
  switch (image_format(bytes)) {
    case ImageFormat::kJpeg: return JpegFile(bytes, name, most_pixels).decode();
    case ImageFormat::kPng: return decode_png(bytes, name, most_pixels);
    case ImageFormat::kWebp: return decode_webp(bytes, name, most_pixels);
    case ImageFormat::kGif: return decode_gif(bytes, name, most_pixels);
    case ImageFormat::kBmp: return decode_bmp(bytes, name, most_pixels);
    case ImageFormat::kUnknown: break;
  }
  fail("{}: expected a JPEG, PNG, WebP, GIF or BMP image, got {}; convert or remove it", name,
       bytes.empty() ? "an empty file" : "other bytes");
}

std::vector<uint8_t> encode_png(const torch::Tensor& pixels_HWC) {
  require_pixels(pixels_HWC, "png");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(pixels_HWC.size(1));
  image.height = static_cast<png_uint_32>(pixels_HWC.size(0));
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<uint8_t> bytes(size);
  require(
      png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels_HWC.const_data_ptr<uint8_t>(), 0, nullptr) != 0,
      "png: expected to encode [{}, {}, 3], got: {}", image.height, image.width, image.message);
  bytes.resize(size);
  return bytes;
}

void require_pixels(const torch::Tensor& pixels_HWC, std::string_view where) {
  require(pixels_HWC.defined() && pixels_HWC.dim() == 3 && pixels_HWC.size(2) == 3 && pixels_HWC.numel() > 0 &&
              pixels_HWC.scalar_type() == torch::kUInt8 && pixels_HWC.is_contiguous() && pixels_HWC.is_cpu(),
          "{}: expected contiguous uint8 pixels [H, W, 3] with H, W >= 1, got {} [{}]", where,
          pixels_HWC.defined() ? c10::toString(pixels_HWC.scalar_type()) : "nothing",
          pixels_HWC.defined() ? fmt::to_string(fmt::join(pixels_HWC.sizes(), ", ")) : "");
}

void require_size(int64_t height, int64_t width, std::string_view name, int64_t most_pixels) {
  if (height > 0 && width > 0 && height <= most_pixels / width) return;
  throw TooManyPixels(
      fmt::format("{}: expected at most {} pixels, got a header of {} x {}; it is damaged, or scale it down", name,
                  most_pixels, height, width));
}

}  // namespace beit

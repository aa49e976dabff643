#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/color_jitter.h"
#include "data/image.h"
#include "data/pixel_rows.h"

namespace beit {
namespace {

constexpr double kMinAspect = 3.0 / 4.0, kMaxAspect = 4.0 / 3.0;

int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }  // half to even

// Pillow's Image.blend: float32, cut off, not rounded.
uint8_t blend(int32_t plain, int32_t value, float factor) {
  const float mixed = static_cast<float>(plain) + factor * static_cast<float>(value - plain);
  return static_cast<uint8_t>(std::clamp(mixed, 0.0F, 255.0F));
}

void require_factor(double factor, const char* where) {
  require(factor >= 0.0, "{}: expected a factor of at least 0, got {}", where, factor);
}

void adjust_(const torch::Tensor& pixels_HWC, ColorChange change, double factor, const char* where) {
  require_pixels(pixels_HWC, where);
  require_factor(factor, where);
  const Box whole{0, 0, pixels_HWC.size(0), pixels_HWC.size(1)};
  apply_jitter_(pixels_HWC, {{{change, factor}}}, whole, whole);
}

}  // namespace

Box random_resized_crop(const ImageSize& image, double min_area, double max_area, Random& random) {
  require(
      image.height > 0 && image.width > 0 && min_area > 0.0 && min_area <= max_area && max_area <= 1.0,
      "random crop: expected an image and 0 < least area <= most area <= 1, got {} x {} and {}, {}; check --min-crop",
      image.height, image.width, min_area, max_area);
  const auto image_height = static_cast<double>(image.height), image_width = static_cast<double>(image.width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = image_height * image_width * random.uniform(min_area, max_area);
    const double aspect = std::exp(random.uniform(std::log(kMinAspect), std::log(kMaxAspect)));
    const int64_t width = rounded(std::sqrt(area * aspect)), height = rounded(std::sqrt(area / aspect));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    const int64_t top = random.integer(0, image.height - height + 1);
    return {top, random.integer(0, image.width - width + 1), height, width};
  }
  Box box{0, 0, image.height, image.width};
  const double aspect = image_width / image_height;
  if (aspect < kMinAspect) box.height = std::max<int64_t>(1, rounded(image_width / kMinAspect));
  if (aspect > kMaxAspect) box.width = std::max<int64_t>(1, rounded(image_height * kMaxAspect));
  box.top = (image.height - box.height) / 2;
  box.left = (image.width - box.width) / 2;
  return box;
}

void adjust_brightness_(const torch::Tensor& pixels_HWC, double factor) {
  adjust_(pixels_HWC, ColorChange::kBrightness, factor, "brightness");
}

void adjust_contrast_(const torch::Tensor& pixels_HWC, double factor) {
  adjust_(pixels_HWC, ColorChange::kContrast, factor, "contrast");
}

void adjust_saturation_(const torch::Tensor& pixels_HWC, double factor) {
  adjust_(pixels_HWC, ColorChange::kSaturation, factor, "saturation");
}

void adjust_sharpness_(const torch::Tensor& pixels_HWC, double factor) {
  require_pixels(pixels_HWC, "sharpness");
  require_factor(factor, "sharpness");
  const int64_t height = pixels_HWC.size(0), row_bytes = pixels_HWC.size(1) * 3;
  auto* bytes = pixels_HWC.mutable_data_ptr<uint8_t>();
  const std::vector<uint8_t> source(bytes, bytes + pixels_HWC.numel());
  for (int64_t y = 1; y < height - 1; ++y) {
    const uint8_t* row = source.data() + y * row_bytes;
    uint8_t* out = bytes + y * row_bytes;
    for (int64_t i = 3; i < row_bytes - 3; ++i) {
      const auto three = [&](const uint8_t* at) { return at[-3] + at[0] + at[3]; };
      const int32_t sum = three(row + i - row_bytes) + three(row + i) + three(row + i + row_bytes) + 4 * row[i];
      out[i] = blend((2 * sum + 13) / 26, row[i], static_cast<float>(factor));  // sum / 13, rounded: it is never a half
    }
  }
}

torch::Tensor to_float(const torch::Tensor& pixels_HWC, const PixelScale& scale, bool mirrored) {
  require_pixels(pixels_HWC, "to_float");
  const int64_t height = pixels_HWC.size(0), width = pixels_HWC.size(1), area = height * width;
  auto out_CHW = torch::empty({3, height, width}, torch::kFloat32);
  const auto* in = pixels_HWC.const_data_ptr<uint8_t>();
  auto* out = out_CHW.mutable_data_ptr<float>();
  std::vector<uint8_t> planes(static_cast<size_t>(3 * width));
  for (int64_t y = 0; y < height; ++y) {
    row_kernels().split(in + y * width * 3, width, planes.data());
    for (size_t c = 0; c < 3; ++c) {
      const auto plane = std::span(planes).subspan(c * static_cast<size_t>(width), static_cast<size_t>(width));
      if (mirrored) std::ranges::reverse(plane);
      row_kernels().to_float(plane.data(), width, scale.mean[c], scale.std[c],
                             out + static_cast<int64_t>(c) * area + y * width);
    }
  }
  return out_CHW;
}

}  // namespace beit

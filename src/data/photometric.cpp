#include "data/photometric.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

using Table = std::array<uint8_t, 256>;

constexpr int kShift = 12;  // bits of the fraction in the divisions by tables
constexpr int32_t kHalf = 1 << (kShift - 1);
constexpr int32_t kHues = 180;

// Half to even, of 0 to 2^22: what the sum cannot hold is rounded off. nearbyint() would be a call for each.
float rounded(float x) {
  constexpr float kNoFraction = 12582912.0F;  // 1.5 * 2^23
  return (x + kNoFraction) - kNoFraction;
}

struct Hsv {
  uint8_t hue, saturation, value;
};

// round(numerator / i) with kShift bits of fraction, for each byte.
std::array<int32_t, 256> quotients(double numerator) {
  std::array<int32_t, 256> table{};
  for (size_t i = 1; i < table.size(); ++i) {
    table[i] = static_cast<int32_t>(std::nearbyint(numerator * (1 << kShift) / static_cast<double>(i)));
  }
  return table;
}

Hsv to_hsv(const uint8_t* rgb) {
  static const auto by_value = quotients(255.0), by_range = quotients(kHues / 6.0);
  const int32_t red = rgb[0], green = rgb[1], blue = rgb[2];
  const int32_t value = std::max({red, green, blue}), range = value - std::min({red, green, blue});
  const int32_t saturation = (range * by_value[static_cast<size_t>(value)] + kHalf) >> kShift;
  const int32_t sector = value == red     ? green - blue
                         : value == green ? blue - red + 2 * range
                                          : red - green + 4 * range;
  int32_t hue = (sector * by_range[static_cast<size_t>(range)] + kHalf) >> kShift;
  if (hue < 0) hue += kHues;
  return {static_cast<uint8_t>(hue), static_cast<uint8_t>(saturation), static_cast<uint8_t>(value)};
}

void to_rgb(const Hsv& hsv, uint8_t* rgb) {
  const float saturation = static_cast<float>(hsv.saturation) * (1.0F / 255.0F);
  const float value = static_cast<float>(hsv.value) * (1.0F / 255.0F);
  float hue = static_cast<float>(hsv.hue) * (6.0F / kHues);
  const auto sector = static_cast<size_t>(hue);
  hue -= static_cast<float>(sector);
  const std::array<float, 4> levels{value, value * (1.0F - saturation), value * (1.0F - saturation * hue),
                                    value * (1.0F - saturation * (1.0F - hue))};
  constexpr std::array<std::array<size_t, 3>, 6> kOrder{
      {{0, 3, 1}, {2, 0, 1}, {1, 0, 3}, {1, 2, 0}, {3, 1, 0}, {0, 1, 2}}};  // red, green, blue of each sector
  for (size_t c = 0; c < 3; ++c) {
    rgb[c] = static_cast<uint8_t>(std::clamp(rounded(levels[kOrder[sector % 6][c]] * 255.0F), 0.0F, 255.0F));
  }
}

template <class Change>
void change_hsv(const torch::Tensor& pixels_HWC, const char* where, Change&& change) {
  require_pixels(pixels_HWC, where);
  auto* pixel = pixels_HWC.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < pixels_HWC.numel(); i += 3) {
    Hsv hsv = to_hsv(pixel + i);
    change(hsv);
    to_rgb(hsv, pixel + i);
  }
}

Table scaled(double scale, double shift) {
  Table table{};
  for (size_t value = 0; value < table.size(); ++value) {
    const float result = static_cast<float>(value) * static_cast<float>(scale) + static_cast<float>(shift);
    table[value] = static_cast<uint8_t>(std::clamp(result, 0.0F, 255.0F));
  }
  return table;
}

}  // namespace

void scale_and_shift_(const torch::Tensor& pixels_HWC, double scale, double shift) {
  require_pixels(pixels_HWC, "scale_and_shift_");
  require(std::isfinite(scale) && std::isfinite(shift), "scale_and_shift_: expected finite numbers, got {} and {}",
          scale, shift);
  const Table table = scaled(scale, shift);
  auto* bytes = pixels_HWC.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < pixels_HWC.numel(); ++i) bytes[i] = table[bytes[i]];
}

void scale_saturation_(const torch::Tensor& pixels_HWC, double scale) {
  require(std::isfinite(scale) && scale >= 0.0, "scale_saturation_: expected a scale of at least 0, got {}", scale);
  const Table table = scaled(scale, 0.0);
  change_hsv(pixels_HWC, "scale_saturation_", [&](Hsv& hsv) { hsv.saturation = table[hsv.saturation]; });
}

void turn_hue_(const torch::Tensor& pixels_HWC, int64_t steps) {
  const int64_t turn = (steps % kHues + kHues) % kHues;
  change_hsv(pixels_HWC, "turn_hue_", [&](Hsv& hsv) { hsv.hue = static_cast<uint8_t>((hsv.hue + turn) % kHues); });
}

void photometric_distortion_(const torch::Tensor& pixels_HWC, Random& random) {
  const auto coin = [&] { return random.integer(0, 2) == 1; };
  const auto contrast = [&] {
    if (coin()) scale_and_shift_(pixels_HWC, random.uniform(0.5, 1.5), 0.0);
  };
  if (coin()) scale_and_shift_(pixels_HWC, 1.0, random.uniform(-32.0, 32.0));
  const bool contrast_first = coin();
  if (contrast_first) contrast();
  if (coin()) scale_saturation_(pixels_HWC, random.uniform(0.5, 1.5));
  if (coin()) turn_hue_(pixels_HWC, random.integer(-18, 18));
  if (!contrast_first) contrast();
}

}  // namespace beit

#include "data/bilinear.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

constexpr float kOne = 2048.0F;

// An output position: two neighbouring inputs and the weight of each.
struct Tap {
  int64_t first, second;
  int32_t first_weight, second_weight;
};

std::vector<Tap> make_taps(int64_t in, int64_t out, int64_t begin, int64_t outputs) {
  const double scale = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  const auto weight = [](float share) { return static_cast<int32_t>(std::nearbyint(share * kOne)); };
  std::vector<Tap> taps;
  for (int64_t i = begin; i < begin + outputs; ++i) {
    const auto at = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    const auto first = static_cast<int64_t>(std::floor(at));
    const float share = at - static_cast<float>(first);
    taps.push_back({std::clamp<int64_t>(first, 0, in - 1), std::clamp<int64_t>(first + 1, 0, in - 1),
                    weight(1.0F - share), weight(share)});
  }
  return taps;
}

void halve(const uint8_t* in, int64_t in_bytes, const Box& window, uint8_t* out) {
  for (int64_t y = window.top; y < window.top + window.height; ++y) {
    for (int64_t x = window.left; x < window.left + window.width; ++x) {
      const uint8_t* pixel = in + 2 * y * in_bytes + 2 * x * 3;
      for (int64_t c = 0; c < 3; ++c, ++pixel) {
        *out++ = static_cast<uint8_t>((pixel[0] + pixel[3] + pixel[in_bytes] + pixel[in_bytes + 3] + 2) >> 2);
      }
    }
  }
}

}  // namespace

torch::Tensor resize_bilinear(const torch::Tensor& pixels_HWC, const ImageSize& size, const Box& window) {
  require_pixels(pixels_HWC, "resize_bilinear");
  require_size(size.height, size.width, "resize_bilinear");
  require(contains(whole_of(size), window) && !window.is_empty(),
          "resize_bilinear: expected a window within {} x {}, got top {} left {} of {} x {}", size.height, size.width,
          window.top, window.left, window.height, window.width);
  const int64_t height = pixels_HWC.size(0), width = pixels_HWC.size(1), in_bytes = width * 3;
  const auto* in = pixels_HWC.const_data_ptr<uint8_t>();
  auto out_HWC = torch::empty({window.height, window.width, 3}, torch::kUInt8);
  auto* out = out_HWC.mutable_data_ptr<uint8_t>();
  if (height == 2 * size.height && width == 2 * size.width) {
    halve(in, in_bytes, window, out);
    return out_HWC;
  }

  const auto columns = make_taps(width, size.width, window.left, window.width);
  const auto rows = make_taps(height, size.height, window.top, window.height);
  // The two input rows of the last output row, resized along x; mostly one of them serves again.
  std::vector<int32_t> upper(static_cast<size_t>(window.width * 3)), lower(upper.size());
  int64_t upper_row = -1, lower_row = -1;
  const auto resized_row = [&](int64_t y, std::vector<int32_t>& sums) {
    const uint8_t* row = in + y * in_bytes;
    int32_t* sum = sums.data();
    for (const Tap& tap : columns) {
      const uint8_t *first = row + tap.first * 3, *second = row + tap.second * 3;
      for (int64_t c = 0; c < 3; ++c) *sum++ = first[c] * tap.first_weight + second[c] * tap.second_weight;
    }
  };
  for (const Tap& tap : rows) {
    if (tap.first == lower_row && tap.first != upper_row) {
      std::swap(upper, lower);
      std::swap(upper_row, lower_row);
    }
    if (tap.first != upper_row) resized_row(upper_row = tap.first, upper);
    if (tap.second != lower_row) resized_row(lower_row = tap.second, lower);
    for (size_t i = 0; i < upper.size(); ++i) {
      const int32_t sum = ((tap.first_weight * (upper[i] >> 4)) >> 16) + ((tap.second_weight * (lower[i] >> 4)) >> 16);
      out[i] = static_cast<uint8_t>((sum + 2) >> 2);
    }
    out += upper.size();
  }
  return out_HWC;
}

}  // namespace beit

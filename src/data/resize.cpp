#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

constexpr int kWeightBits = 22;  // 32 less 8 of the pixel less 2 for weights beyond 1
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

double support(Filter filter) {
  switch (filter) {
    case Filter::kBox: return 0.5;
    case Filter::kBilinear: return 1.0;
    case Filter::kBicubic: return 2.0;
    case Filter::kLanczos: return 3.0;
  }
  return 0.0;
}

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

double weight(Filter filter, double x) {
  constexpr double a = -0.5;
  const double distance = std::abs(x);
  switch (filter) {
    case Filter::kBox: return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Filter::kBilinear: return std::max(0.0, 1.0 - distance);
    case Filter::kBicubic:
      if (distance < 1.0) return ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0;
      return distance < 2.0 ? (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a : 0.0;
    case Filter::kLanczos: return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
  }
  return 0.0;
}

// For each output position along one axis: which inputs it takes, and how much of each.
struct Taps {
  std::vector<int64_t> first, count;
  std::vector<int32_t> weights;  // [outputs, most]
  int64_t most = 0;

  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
  const int32_t* of(int64_t output) const { return weights.data() + output * most; }
};

// Outputs [begin, begin + outputs) of the `out` that an axis of `in` is resized to.
Taps make_taps(int64_t in, int64_t out, int64_t begin, int64_t outputs, Filter filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double spread = std::max(scale, 1.0);
  const double reach = support(filter) * spread;
  Taps taps;
  taps.most = 2 * static_cast<int64_t>(std::ceil(reach)) + 1;
  taps.weights.assign(static_cast<size_t>(outputs * taps.most), 0);
  std::vector<double> exact(static_cast<size_t>(taps.most));
  for (int64_t i = 0; i < outputs; ++i) {
    const double center = (static_cast<double>(begin + i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - reach + 0.5));
    const int64_t count = std::min(in, static_cast<int64_t>(center + reach + 0.5)) - first;
    double sum = 0.0;
    for (int64_t t = 0; t < count; ++t) {
      const double w = weight(filter, (static_cast<double>(t + first) - center + 0.5) * (1.0 / spread));
      exact[static_cast<size_t>(t)] = w;
      sum += w;
    }
    for (int64_t t = 0; t < count; ++t) {
      const double w = sum != 0.0 ? exact[static_cast<size_t>(t)] / sum : exact[static_cast<size_t>(t)];
      taps.weights[static_cast<size_t>(i * taps.most + t)] =
          static_cast<int32_t>((w < 0.0 ? -0.5 : 0.5) + w * (1 << kWeightBits));
    }
    taps.first.push_back(first);
    taps.count.push_back(count);
  }
  return taps;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

// One row: each output pixel from its neighbours.
void resize_row(const uint8_t* in, const Taps& taps, uint8_t* out) {
  for (int64_t x = 0; x < taps.outputs(); ++x) {
    const int32_t* weights = taps.of(x);
    const uint8_t* pixel = in + taps.first[static_cast<size_t>(x)] * 3;
    int32_t red = kHalf, green = kHalf, blue = kHalf;
    for (int64_t t = 0; t < taps.count[static_cast<size_t>(x)]; ++t, pixel += 3) {
      red += weights[t] * pixel[0];
      green += weights[t] * pixel[1];
      blue += weights[t] * pixel[2];
    }
    *out++ = to_byte(red);
    *out++ = to_byte(green);
    *out++ = to_byte(blue);
  }
}

// One output row: a weighted sum of rows.
void sum_rows(const uint8_t* rows, int64_t row_bytes, const int32_t* weights, int64_t count, int32_t* sums,
              uint8_t* out) {
  std::fill_n(sums, row_bytes, kHalf);
  for (int64_t t = 0; t < count; ++t) {
    const uint8_t* row = rows + t * row_bytes;
    for (int64_t i = 0; i < row_bytes; ++i) sums[i] += weights[t] * row[i];
  }
  for (int64_t i = 0; i < row_bytes; ++i) out[i] = to_byte(sums[i]);
}

// `window` of what `box` of the pixels becomes when it is resized to `size`.
torch::Tensor resize(const torch::Tensor& pixels_HWC, const Box& box, const ImageSize& size, const Box& window,
                     Filter filter) {
  const Taps columns = make_taps(box.width, size.width, window.left, window.width, filter);
  const Taps rows = make_taps(box.height, size.height, window.top, window.height, filter);
  const int64_t first_row = rows.first.front();
  const int64_t last_row = rows.first.back() + rows.count.back();

  const int64_t in_bytes = pixels_HWC.size(1) * 3, out_bytes = window.width * 3;
  const uint8_t* in = pixels_HWC.const_data_ptr<uint8_t>() + box.top * in_bytes + box.left * 3;
  std::vector<uint8_t> narrowed(static_cast<size_t>((last_row - first_row) * out_bytes));
  for (int64_t y = first_row; y < last_row; ++y) {
    resize_row(in + y * in_bytes, columns, narrowed.data() + (y - first_row) * out_bytes);
  }

  auto out_HWC = torch::empty({window.height, window.width, 3}, torch::kUInt8);
  auto* out = out_HWC.mutable_data_ptr<uint8_t>();
  std::vector<int32_t> sums(static_cast<size_t>(out_bytes));
  for (int64_t y = 0; y < window.height; ++y) {
    const auto i = static_cast<size_t>(y);
    sum_rows(narrowed.data() + (rows.first[i] - first_row) * out_bytes, out_bytes, rows.of(y), rows.count[i],
             sums.data(), out + y * out_bytes);
  }
  return out_HWC;
}

void require_output(const ImageSize& size) {
  require(size.height > 0 && size.width > 0, "resize: expected a size of at least 1 x 1, got {} x {}", size.height,
          size.width);
}

}  // namespace

torch::Tensor resize(const torch::Tensor& pixels_HWC, const Box& box, const ImageSize& size, Filter filter) {
  require_pixels(pixels_HWC, "resize");
  require_output(size);
  require(box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 &&
              box.top <= pixels_HWC.size(0) - box.height && box.left <= pixels_HWC.size(1) - box.width,
          "resize: expected a box within {} x {}, got top {} left {} of {} x {}", pixels_HWC.size(0),
          pixels_HWC.size(1), box.top, box.left, box.height, box.width);
  return resize(pixels_HWC, box, size, {0, 0, size.height, size.width}, filter);
}

torch::Tensor evaluation_view(const torch::Tensor& pixels_HWC, const ImageSize& size) {
  require_pixels(pixels_HWC, "evaluation view");
  require_output(size);
  const int64_t height = pixels_HWC.size(0), width = pixels_HWC.size(1);
  if (size == ImageSize{height, width}) return pixels_HWC;
  const double kept = std::min(size.height, size.width) < 384 ? 0.875 : 1.0;
  ImageSize scaled{static_cast<int64_t>(static_cast<double>(size.height) / kept),
                   static_cast<int64_t>(static_cast<double>(size.width) / kept)};
  if (width * scaled.height > height * scaled.width) {
    scaled.width = scaled.height * width / height;
  } else {
    scaled.height = scaled.width * height / width;
  }
  const auto centered = [](int64_t whole, int64_t part) {  // half to even
    return static_cast<int64_t>(std::nearbyint(static_cast<double>(whole - part) / 2.0));
  };
  const Box window{centered(scaled.height, size.height), centered(scaled.width, size.width), size.height, size.width};
  return resize(pixels_HWC, {0, 0, height, width}, scaled, window, Filter::kBicubic);
}

}  // namespace beit

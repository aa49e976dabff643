#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "data/image.h"
#include "data/pixel_rows.h"

namespace beit {
namespace {

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
  int64_t begin() const { return std::ranges::min(first); }
  int64_t end() const {
    int64_t last = 0;
    for (size_t i = 0; i < first.size(); ++i) last = std::max(last, first[i] + count[i]);
    return last;
  }
};

// The taps of `outputs` of the `whole` positions that [begin, begin + length) is scaled to, from number `skipped` on.
// Pixels outside of that interval do not count. Where it begins and ends at whole pixels, the arithmetic is Pillow's.
Taps make_taps(double begin, double length, int64_t whole, int64_t skipped, int64_t outputs, Filter filter) {
  const double base = std::floor(begin), inner = begin - base;
  const auto inputs = static_cast<int64_t>(std::ceil(inner + length));
  const double scale = length / static_cast<double>(whole);
  const double spread = std::max(scale, 1.0), reach = support(filter) * spread;
  Taps taps;
  taps.most = static_cast<int64_t>(std::ceil(reach)) * 2 + 1;
  taps.weights.resize(static_cast<size_t>(outputs * taps.most));
  taps.first.reserve(static_cast<size_t>(outputs));
  taps.count.reserve(static_cast<size_t>(outputs));
  std::vector<double> exact(static_cast<size_t>(taps.most));
  for (int64_t i = 0; i < outputs; ++i) {
    const double center = inner + (static_cast<double>(i + skipped) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - reach + 0.5));
    const int64_t count = std::min(inputs, static_cast<int64_t>(center + reach + 0.5)) - first;
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
    taps.first.push_back(static_cast<int64_t>(base) + first);
    taps.count.push_back(count);
  }
  return taps;
}

Taps column_taps(const Cut& cut, Filter filter) {
  return make_taps(cut.region.left, cut.region.width, cut.scaled.width, cut.window.left, cut.window.width, filter);
}

Taps row_taps(const Cut& cut, Filter filter) {
  return make_taps(cut.region.top, cut.region.height, cut.scaled.height, cut.window.top, cut.window.height, filter);
}

// As the kernels take them: from the part's first column on, and in reversed order where the view is mirrored.
ColumnTaps paired(const Taps& taps, int64_t left, bool mirrored) {
  const int64_t outputs = taps.outputs();
  ColumnTaps out;
  out.outputs = outputs;
  out.pairs = (std::ranges::max(taps.count) + 1) / 2;
  out.first.resize(static_cast<size_t>(outputs));
  out.weights.resize(static_cast<size_t>(outputs * out.pairs * 8));
  for (int64_t x = 0; x < outputs; ++x) {
    const int64_t from = mirrored ? outputs - 1 - x : x;
    out.first[static_cast<size_t>(x)] = taps.first[static_cast<size_t>(from)] - left;
    for (int64_t t = 0; t < taps.count[static_cast<size_t>(from)]; ++t) {
      int32_t* pair = out.weights.data() + (x * out.pairs + t / 2) * 8 + t % 2 * 3;
      std::fill_n(pair, 3, taps.of(from)[t]);
    }
  }
  return out;
}

// The cut's rows as three planes [3 W] each, one after another, handed to `take(y, planes)`.
template <class Take>
void resize_rows(const torch::Tensor& part_HWC, int64_t top, int64_t left, const Cut& cut, Filter filter, bool mirrored,
                 Take&& take) {
  const RowKernels& kernels = row_kernels();
  const Taps rows = row_taps(cut, filter), unpaired = column_taps(cut, filter);
  const int64_t first_row = rows.begin(), last_row = rows.end();
  require(first_row >= top && last_row <= top + part_HWC.size(0) && unpaired.begin() >= left &&
              unpaired.end() <= left + part_HWC.size(1),
          "resize: expected pixels {} to {} by {} to {}, got a part of {} x {} from {}, {} on", first_row, last_row,
          unpaired.begin(), unpaired.end(), part_HWC.size(0), part_HWC.size(1), top, left);
  const ColumnTaps columns = paired(unpaired, left, mirrored);

  const int64_t in_bytes = part_HWC.size(1) * 3, out_bytes = cut.window.width * 3;
  // Taps of no weight may lie beyond the row's end: in the next row, but for the last rows, which get room behind them.
  const int64_t reach = std::ranges::max(columns.first) * 3 + columns.reach();
  const auto* in = part_HWC.const_data_ptr<uint8_t>();
  const auto* end = in + part_HWC.numel();
  std::vector<uint8_t> last(static_cast<size_t>(std::max(reach, in_bytes)));
  std::vector<uint8_t> narrowed(static_cast<size_t>((last_row - first_row) * out_bytes));
  for (int64_t y = first_row; y < last_row; ++y) {
    const uint8_t* row = in + (y - top) * in_bytes;
    if (end - row < reach) row = std::copy(row, row + in_bytes, last.data()) - in_bytes;
    kernels.narrow(row, columns, narrowed.data() + (y - first_row) * out_bytes);
  }
  std::vector<uint8_t> planes(static_cast<size_t>(out_bytes));
  for (int64_t y = 0; y < cut.window.height; ++y) {
    const auto i = static_cast<size_t>(y);
    kernels.sum(narrowed.data() + (rows.first[i] - first_row) * out_bytes, rows.of(y), rows.count[i], out_bytes,
                planes.data());
    take(y, planes.data());
  }
}

torch::Tensor resize_to_pixels(const torch::Tensor& pixels_HWC, const Cut& cut, Filter filter) {
  const int64_t width = cut.window.width;
  auto out_HWC = torch::empty({cut.window.height, width, 3}, torch::kUInt8);
  auto* out = out_HWC.mutable_data_ptr<uint8_t>();
  resize_rows(pixels_HWC, 0, 0, cut, filter, /*mirrored=*/false,
              [&](int64_t y, const uint8_t* planes) { row_kernels().join(planes, width, out + y * width * 3); });
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
  require(contains({0, 0, pixels_HWC.size(0), pixels_HWC.size(1)}, box) && !box.is_empty(),
          "resize: expected a box within {} x {}, got top {} left {} of {} x {}", pixels_HWC.size(0),
          pixels_HWC.size(1), box.top, box.left, box.height, box.width);
  return resize_to_pixels(pixels_HWC, cut_of(region_of(box), size), filter);
}

torch::Tensor resize_to_planes(const torch::Tensor& part_HWC, int64_t top, int64_t left, const Cut& cut, Filter filter,
                               bool mirrored) {
  require_pixels(part_HWC, "resize");
  require_output({cut.window.height, cut.window.width});
  const int64_t height = cut.window.height, width = cut.window.width;
  auto out_CHW = torch::empty({3, height, width}, torch::kUInt8);
  auto* out = out_CHW.mutable_data_ptr<uint8_t>();
  resize_rows(part_HWC, top, left, cut, filter, mirrored, [&](int64_t y, const uint8_t* planes) {
    for (int64_t c = 0; c < 3; ++c) std::copy_n(planes + c * width, width, out + (c * height + y) * width);
  });
  return out_CHW;
}

Box source_of(const Cut& cut, Filter filter) {
  const Taps rows = row_taps(cut, filter), columns = column_taps(cut, filter);
  return {rows.begin(), columns.begin(), rows.end() - rows.begin(), columns.end() - columns.begin()};
}

Cut evaluation_cut(const ImageSize& image, const ImageSize& size) {
  require_output(size);
  const Region whole = region_of(whole_of(image));
  if (size == image) return cut_of(whole, size);
  const double kept = std::min(size.height, size.width) < 384 ? 0.875 : 1.0;
  ImageSize scaled{static_cast<int64_t>(static_cast<double>(size.height) / kept),
                   static_cast<int64_t>(static_cast<double>(size.width) / kept)};
  if (image.width * scaled.height > image.height * scaled.width) {
    scaled.width = scaled.height * image.width / image.height;
  } else {
    scaled.height = scaled.width * image.height / image.width;
  }
  const auto centered = [](int64_t all, int64_t part) {  // half to even
    return static_cast<int64_t>(std::nearbyint(static_cast<double>(all - part) / 2.0));
  };
  return {whole,
          scaled,
          {centered(scaled.height, size.height), centered(scaled.width, size.width), size.height, size.width}};
}

torch::Tensor evaluation_pixels(const torch::Tensor& pixels_HWC, const ImageSize& size) {
  require_pixels(pixels_HWC, "evaluation view");
  const ImageSize image{pixels_HWC.size(0), pixels_HWC.size(1)};
  const Cut cut = evaluation_cut(image, size);
  return image == size ? pixels_HWC : resize_to_pixels(pixels_HWC, cut, Filter::kBicubic);
}

}  // namespace beit

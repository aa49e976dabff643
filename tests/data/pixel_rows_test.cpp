#include "data/pixel_rows.h"

#include <doctest/doctest.h>

#include "data/augment.h"
#include "data/color_jitter.h"
#include "tests/data/samples.h"

using namespace beit;

namespace {

std::vector<uint8_t> noise(size_t bytes, uint64_t number) {
  Random random(number, 0, 0, Purpose::kWeights);
  std::vector<uint8_t> out(bytes);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random.integer(0, 256));
  return out;
}

ColumnTaps some_taps(int64_t outputs, int64_t pairs, uint64_t number) {
  Random random(number, 1, 0, Purpose::kWeights);
  ColumnTaps taps{.outputs = outputs, .pairs = pairs, .first = {}, .weights = {}};
  for (int64_t x = 0; x < outputs; ++x) taps.first.push_back(random.integer(0, 40));
  for (int64_t i = 0; i < outputs * pairs; ++i) {
    for (int t = 0; t < 2; ++t) {
      const auto weight = static_cast<int32_t>(random.integer(-200'000, 2'000'000 / pairs));
      taps.weights.insert(taps.weights.end(), 3, weight);
    }
    taps.weights.insert(taps.weights.end(), 2, 0);
  }
  return taps;
}

}  // namespace

TEST_CASE("pixel rows: every instruction set gives the same bytes and floats, whatever the length") {
  const RowKernels& portable = all_row_kernels().front();
  for (const RowKernels& kernels : all_row_kernels()) {
    CAPTURE(kernels.name);
    for (const size_t pixels : {1, 2, 7, 8, 31, 33, 64, 100, 257}) {
      CAPTURE(pixels);
      const auto n = static_cast<int64_t>(pixels);
      const auto row = noise(3 * pixels, pixels);
      std::vector<uint8_t> a(3 * pixels), b(3 * pixels);
      portable.split(row.data(), n, a.data());
      kernels.split(row.data(), n, b.data());
      CHECK(a == b);
      std::vector<uint8_t> back(3 * pixels);
      kernels.join(b.data(), n, back.data());
      CHECK(back == row);
      CHECK(portable.grey_sum(a.data(), n) == kernels.grey_sum(a.data(), n));
      for (const float factor : {0.0F, 0.6F, 1.0F, 1.37F, 1e9F}) {
        a = b = row;
        portable.blend(a.data(), 3 * n, 97, factor);
        kernels.blend(b.data(), 3 * n, 97, factor);
        CHECK(a == b);
        a = b = row;
        portable.saturate(a.data(), n, factor);
        kernels.saturate(b.data(), n, factor);
        CHECK(a == b);
      }
      std::vector<float> x(3 * pixels), y(3 * pixels);
      for (const PixelScale& scale : {kUnitScale, kImagenetScale}) {
        portable.to_float(row.data(), 3 * n, scale.mean[1], scale.std[1], x.data());
        kernels.to_float(row.data(), 3 * n, scale.mean[1], scale.std[1], y.data());
        CHECK(x == y);
      }
      for (const int64_t count : {1, 2, 5, 40}) {
        const auto rows = noise(static_cast<size_t>(count) * 3 * pixels, pixels + 1);
        const std::vector<int32_t> weights(static_cast<size_t>(count),
                                           (1 << kWeightBits) / static_cast<int32_t>(count) + 9);
        portable.sum(rows.data(), weights.data(), count, 3 * n, a.data());
        kernels.sum(rows.data(), weights.data(), count, 3 * n, b.data());
        CHECK(a == b);
      }
      for (const int64_t pairs : {1, 2, 3, 4, 5, 6, 11}) {
        const auto taps = some_taps(n, pairs, pixels);
        const auto in = noise(static_cast<size_t>(40 * 3 + taps.reach()), pixels + 2);
        portable.narrow(in.data(), taps, a.data());
        kernels.narrow(in.data(), taps, b.data());
        CHECK(a == b);
      }
    }
  }
}

TEST_CASE("pixel rows: floats are those of LibTorch's division") {
  std::vector<uint8_t> bytes(256);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  std::vector<float> out(256);
  row_kernels().to_float(bytes.data(), 256, 0.485F, 0.229F, out.data());
  CHECK(torch::equal(torch::tensor(out), (torch::arange(256, torch::kFloat32) / 255 - 0.485F) / 0.229F));
}

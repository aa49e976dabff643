#include "data/color_jitter.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/image.h"
#include "data/pixel_rows.h"

namespace beit {
namespace {

using Steps = std::span<const ColorJitter::Step>;

/// `mean_grey` is what contrast mixes with.
void apply(Steps steps, uint8_t* planes, int64_t pixels, int32_t mean_grey) {
  const RowKernels& kernels = row_kernels();
  for (const auto& [change, factor] : steps) {
    switch (change) {
      case ColorChange::kBrightness: kernels.blend(planes, 3 * pixels, 0, static_cast<float>(factor)); break;
      case ColorChange::kContrast: kernels.blend(planes, 3 * pixels, mean_grey, static_cast<float>(factor)); break;
      case ColorChange::kSaturation: kernels.saturate(planes, pixels, static_cast<float>(factor)); break;
    }
  }
}

int32_t mean_of(int64_t grey_sum, int64_t pixels) {
  return static_cast<int32_t>(static_cast<double>(grey_sum) / static_cast<double>(pixels) + 0.5);
}

/// The steps before contrast, and those from it on.
std::pair<Steps, Steps> around_contrast(const ColorJitter& jitter) {
  const Steps all(jitter.steps);
  const auto contrast = std::ranges::find(all, ColorChange::kContrast, &ColorJitter::Step::change);
  const auto before = static_cast<size_t>(contrast - all.begin());
  return {all.first(before), all.subspan(before)};
}

}  // namespace

ColorJitter draw_color_jitter(double strength, Random& random) {
  require(strength >= 0.0, "colour jitter: expected a strength of at least 0, got {}", strength);
  ColorJitter jitter;
  if (strength == 0.0) return jitter;
  constexpr std::array changes{ColorChange::kBrightness, ColorChange::kContrast, ColorChange::kSaturation};
  for (const int64_t change : random.permutation(std::ssize(changes))) {
    jitter.steps.push_back(
        {changes[static_cast<size_t>(change)], random.uniform(std::max(0.0, 1.0 - strength), 1.0 + strength)});
  }
  return jitter;
}

void apply_jitter_(const torch::Tensor& pixels_HWC, const ColorJitter& jitter, const Box& part, const Box& whole) {
  require_pixels(pixels_HWC, "colour jitter");
  require(contains({0, 0, pixels_HWC.size(0), pixels_HWC.size(1)}, whole) && contains(whole, part) && !part.is_empty(),
          "colour jitter: expected a part of {} x {} within {} x {} pixels, got {} x {} of {} x {}", whole.height,
          whole.width, pixels_HWC.size(0), pixels_HWC.size(1), part.height, part.width, whole.height, whole.width);
  if (jitter.steps.empty()) return;
  const RowKernels& kernels = row_kernels();
  const auto [before, after] = around_contrast(jitter);
  const int64_t row_bytes = pixels_HWC.size(1) * 3;
  auto* pixels = pixels_HWC.mutable_data_ptr<uint8_t>();
  std::vector<uint8_t> planes(static_cast<size_t>(whole.width * 3));

  int64_t grey_sum = 0;
  for (int64_t y = whole.top; y < whole.top + whole.height; ++y) {
    uint8_t* row = pixels + y * row_bytes + whole.left * 3;
    kernels.split(row, whole.width, planes.data());
    apply(before, planes.data(), whole.width, 0);
    if (!after.empty()) grey_sum += kernels.grey_sum(planes.data(), whole.width);
    if (!before.empty() && y >= part.top && y < part.top + part.height) kernels.join(planes.data(), whole.width, row);
  }
  if (after.empty()) return;
  const int32_t grey = mean_of(grey_sum, whole.height * whole.width);
  for (int64_t y = part.top; y < part.top + part.height; ++y) {
    uint8_t* row = pixels + y * row_bytes + part.left * 3;
    kernels.split(row, part.width, planes.data());
    apply(after, planes.data(), part.width, grey);
    kernels.join(planes.data(), part.width, row);
  }
}

void apply_jitter_(const torch::Tensor& planes_CHW, const ColorJitter& jitter) {
  require(planes_CHW.dim() == 3 && planes_CHW.size(0) == 3 && planes_CHW.is_contiguous() &&
              planes_CHW.scalar_type() == torch::kUInt8,
          "colour jitter: expected contiguous uint8 planes [3, H, W], got [{}]", fmt::join(planes_CHW.sizes(), ", "));
  if (jitter.steps.empty()) return;
  const auto [before, after] = around_contrast(jitter);
  const int64_t pixels = planes_CHW.size(1) * planes_CHW.size(2);
  auto* planes = planes_CHW.mutable_data_ptr<uint8_t>();
  apply(before, planes, pixels, 0);
  if (!after.empty()) apply(after, planes, pixels, mean_of(row_kernels().grey_sum(planes, pixels), pixels));
}

}  // namespace beit

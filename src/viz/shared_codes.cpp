#include "viz/shared_codes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <tuple>

#include "base/error.h"
#include "viz/drawing.h"
#include "viz/surroundings.h"

namespace beit {
namespace {

constexpr int64_t kGap = 4, kWideGap = 20, kCell = 64, kDot = 3;  // pixels
constexpr int64_t kLeastPatch = 32, kMostEnlarged = 8;            // pixels of a patch, and times, in the large images
constexpr int64_t kContext = 1;                                   // patches around one in the legend
constexpr double kPale = 0.3;
constexpr Ink kPaper{255, 255, 255};

using PatchesByCode = std::map<int64_t, std::vector<int64_t>>;

PatchesByCode patches_by_code(const torch::Tensor& codes_N) {
  require(codes_N.dim() == 1 && codes_N.size(0) > 0, "picture: expected codes [N] of an image, got [{}]",
          fmt::join(codes_N.sizes(), ", "));
  const auto on_cpu_N = codes_N.to(torch::kCPU, torch::kInt64);
  const auto codes = on_cpu_N.accessor<int64_t, 1>();
  PatchesByCode patches;
  for (int64_t patch = 0; patch < codes.size(0); ++patch) patches[codes[patch]].push_back(patch);
  return patches;
}

/// Hues that lie apart, however many there are: each a golden section of the circle from the one before.
Ink colour_of(size_t number) {
  constexpr double kGoldenSection = 0.618033988749895;
  constexpr double kBrightness[] = {0.95, 0.65, 0.8};
  const double turns = static_cast<double>(number) * kGoldenSection, hue = (turns - std::floor(turns)) * 6;
  const double value = kBrightness[number % 3];
  Ink colour{};
  for (size_t channel = 0; channel < 3; ++channel) {
    // Full saturation: each channel rises and falls over four sixths of the circle, a third apart.
    const double place = std::fmod(hue + 6 - 2 * static_cast<double>(channel), 6.0);
    const double strength = std::clamp(std::abs(place - 3) - 1, 0.0, 1.0);
    colour[channel] = static_cast<uint8_t>(std::lround(255 * value * strength));
  }
  return colour;
}

/// The image enlarged, patches of codes that the other has not pale.
torch::Tensor large_image(const torch::Tensor& pixels_HW3, const SharedCodes& shared, size_t which, const Grid& grid,
                          int64_t times) {
  auto weight_N = torch::full({grid.patches()}, kPale, torch::kFloat32);
  for (const SharedCode& one : shared.codes) {
    for (const int64_t patch : one.patches[which]) weight_N[patch].fill_(1);
  }
  const int64_t height = pixels_HW3.size(0) / grid.rows, width = pixels_HW3.size(1) / grid.columns;
  const auto weight_HW1 =
      weight_N.view({grid.rows, grid.columns, 1}).repeat_interleave(height, 0).repeat_interleave(width, 1);
  const auto mixed_HW3 = (255 + (pixels_HW3.to(torch::kFloat32) - 255) * weight_HW1).round().to(torch::kUInt8);
  auto large_HW3 = mixed_HW3.repeat_interleave(times, 0).repeat_interleave(times, 1);
  for (size_t number = 0; number < shared.codes.size(); ++number) {
    const SharedCode& one = shared.codes[number];
    const Ink colour = colour_of(number);
    const std::string text = std::to_string(one.code);
    for (const int64_t patch : one.patches[which]) {
      const int64_t top = patch / grid.columns * height * times, left = patch % grid.columns * width * times;
      outline_rectangle(large_HW3, top, left, height * times, width * times, 3, colour);
      const int64_t label_height = text_height(1) + 4, label_width = text_width(text, 1) + 4;
      if (label_width > width * times || label_height > height * times) continue;
      fill_rectangle(large_HW3, top, left, label_height, label_width, kPaper);
      draw_text(large_HW3, text, top + 2, left + 2, 1);
    }
  }
  return large_HW3;
}

}  // namespace

double SharedCodes::jaccard() const {
  const auto both = static_cast<double>(codes.size());
  return both / (static_cast<double>(held[0] + held[1]) - both);
}

SharedCodes shared_codes(const torch::Tensor& first_N, const torch::Tensor& second_N) {
  const PatchesByCode first = patches_by_code(first_N), second = patches_by_code(second_N);
  SharedCodes shared{{}, {std::ssize(first), std::ssize(second)}};
  for (const auto& [code, patches] : first) {
    const auto found = second.find(code);
    if (found != second.end()) shared.codes.push_back({code, {patches, found->second}});
  }
  std::ranges::stable_sort(shared.codes, std::ranges::greater{}, [](const SharedCode& one) {
    const auto [fewer, more] = std::minmax({one.patches[0].size(), one.patches[1].size()});
    return std::tuple(fewer, more);
  });
  return shared;
}

torch::Tensor shared_codes_picture(const std::array<torch::Tensor, 2>& pixels_HW3, const SharedCodes& shared,
                                   const Grid& grid, const SharedCodesOptions& options) {
  require(pixels_HW3[0].dim() == 3 && pixels_HW3[0].sizes() == pixels_HW3[1].sizes() && pixels_HW3[0].size(2) == 3 &&
              pixels_HW3[0].size(0) % grid.rows == 0 && pixels_HW3[0].size(1) % grid.columns == 0,
          "picture: expected two images [H, W, 3] of one size that {}x{} patches divide, got [{}] and [{}]", grid.rows,
          grid.columns, fmt::join(pixels_HW3[0].sizes(), ", "), fmt::join(pixels_HW3[1].sizes(), ", "));
  const int64_t patch_side = std::min(pixels_HW3[0].size(0) / grid.rows, pixels_HW3[0].size(1) / grid.columns);
  const int64_t times = std::clamp<int64_t>((kLeastPatch + patch_side - 1) / patch_side, 1, kMostEnlarged);
  const int64_t height = pixels_HW3[0].size(0) * times, width = pixels_HW3[0].size(1) * times;

  const auto listed = std::min(std::ssize(shared.codes), options.rows);
  size_t digits = 0;
  std::array<int64_t, 2> columns{0, 0};
  for (int64_t row = 0; row < listed; ++row) {
    const SharedCode& one = shared.codes[static_cast<size_t>(row)];
    digits = std::max(digits, std::to_string(one.code).size());
    for (size_t which = 0; which < 2; ++which)
      columns[which] = std::max(columns[which], std::min(std::ssize(one.patches[which]), options.columns));
  }
  const int64_t pitch = kCell + kGap, swatch = kCell / 2;
  const int64_t numbers_left = kGap + swatch + 2 * kGap;
  const std::array<int64_t, 2> examples_left{
      numbers_left + static_cast<int64_t>(digits) * 4 * kDot + kGap,
      numbers_left + static_cast<int64_t>(digits) * 4 * kDot + kGap + columns[0] * pitch + kWideGap};
  const int64_t legend_top = kGap + height + kWideGap;
  const auto canvas_HW3 =
      torch::full({listed > 0 ? legend_top + listed * pitch : height + 2 * kGap,
                   std::max(2 * width + kWideGap + 2 * kGap, examples_left[1] + columns[1] * pitch), 3},
                  255, torch::kUInt8);
  for (size_t which = 0; which < 2; ++which) {
    put_picture(canvas_HW3, large_image(pixels_HW3[which], shared, which, grid, times), kGap,
                kGap + static_cast<int64_t>(which) * (width + kWideGap));
  }
  for (int64_t row = 0; row < listed; ++row) {
    const SharedCode& one = shared.codes[static_cast<size_t>(row)];
    const Ink colour = colour_of(static_cast<size_t>(row));
    const int64_t top = legend_top + row * pitch;
    fill_rectangle(canvas_HW3, top + (kCell - swatch) / 2, kGap, swatch, swatch, colour);
    draw_number(canvas_HW3, one.code, top + (kCell - text_height(kDot)) / 2, numbers_left, kDot);
    for (size_t which = 0; which < 2; ++which) {
      const auto shown = std::min(std::ssize(one.patches[which]), options.columns);
      for (int64_t column = 0; column < shown; ++column) {
        const Surroundings around = surroundings_of(one.patches[which][static_cast<size_t>(column)], grid, kContext);
        const auto part_HW3 = cut_surroundings(pixels_HW3[which], grid, around);
        put_picture(canvas_HW3, outlined_patch(part_HW3, around, kCell, colour), top,
                    examples_left[which] + column * pitch);
      }
    }
  }
  return canvas_HW3;
}

}  // namespace beit

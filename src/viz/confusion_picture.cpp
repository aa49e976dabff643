#include "viz/confusion_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/error.h"
#include "viz/drawing.h"

namespace beit {
namespace {

constexpr int64_t kSide = 1600;                    // pixels that the squares take together, about
constexpr int64_t kLeastCell = 2, kMostCell = 64;  // pixels
constexpr int64_t kGap = 4, kFrame = 1;            // pixels
constexpr int64_t kSharesFrom = 30;                // pixels of a square that a share is written in
constexpr uint8_t kEmptyRow = 225, kFrameGrey = 120;
constexpr std::array<uint8_t, 3> kPaperInk{255, 255, 255};
// As in mask_picture: people tell them apart who see no difference between green and red.
constexpr float kRight[] = {0, 158, 115}, kWrong[] = {214, 94, 0};

int64_t width_of(int64_t number, int64_t dot) { return std::ssize(std::to_string(number)) * 4 * dot - dot; }

/// 1, 2, 5, 10, 20, ...: the first that leaves `room` pixels.
int64_t step_for(int64_t room, int64_t cell) {
  for (int64_t ten = 1;; ten *= 10) {
    for (const int64_t step : {ten, 2 * ten, 5 * ten}) {
      if (step * cell >= room) return step;
    }
  }
}

torch::Tensor colour_11C(const float (&channels)[3]) {
  return torch::tensor(at::ArrayRef<float>(channels)).view({1, 1, 3});
}

}  // namespace

torch::Tensor confusion_picture(const torch::Tensor& counts_KK, std::span<const int64_t> numbers) {
  const auto classes = std::ssize(numbers);
  require(counts_KK.dim() == 2 && classes > 0 && counts_KK.size(0) == classes && counts_KK.size(1) == classes &&
              classes <= kMostPictureClasses,
          "picture: expected counts [K, K] of 1 to {} classes with a number each, got [{}] and {} numbers",
          kMostPictureClasses, fmt::join(counts_KK.sizes(), ", "), classes);
  const auto counts = counts_KK.to(torch::kCPU, torch::kFloat32);
  const auto all_K1 = counts.sum(1, /*keepdim=*/true);
  const auto share_KK = counts / all_K1.clamp_min(1);

  const auto full_KKC =
      torch::where(torch::eye(classes, torch::kBool).unsqueeze(2), colour_11C(kRight), colour_11C(kWrong));
  const auto shade_KKC = 255 + (full_KKC - 255) * share_KK.sqrt().unsqueeze(2);
  const auto colour_KKC =
      torch::where(all_K1.eq(0).unsqueeze(2), torch::full({}, kEmptyRow, torch::kFloat32), shade_KKC)
          .round()
          .to(torch::kUInt8);

  const int64_t cell = std::clamp(kSide / classes, kLeastCell, kMostCell), side = classes * cell;
  const int64_t dot = cell >= 24 ? 3 : 2;
  const int64_t widest = width_of(*std::ranges::max_element(numbers), dot);
  const int64_t top = 2 * kGap + 5 * dot + kFrame, left = 2 * kGap + widest + kFrame;
  auto picture_HWC =
      torch::full({top + side + kFrame + kGap, left + side + kFrame + kGap + widest / 2, 3}, 255, torch::kUInt8);
  const auto part = [&](int64_t y, int64_t x, int64_t length) {
    return picture_HWC.slice(0, y, y + length).slice(1, x, x + length);
  };
  part(top - kFrame, left - kFrame, side + 2 * kFrame).fill_(kFrameGrey);
  part(top, left, side).copy_(colour_KKC.repeat_interleave(cell, 0).repeat_interleave(cell, 1));

  const int64_t row_step = step_for(5 * dot + kGap, cell), column_step = step_for(widest + 2 * kGap, cell);
  for (int64_t i = 0; i < classes; ++i) {
    const int64_t number = numbers[static_cast<size_t>(i)], middle = i * cell + cell / 2;
    if (i % row_step == 0)
      draw_number(picture_HWC, number, std::max(top + middle - 5 * dot / 2, int64_t{0}),
                  left - kFrame - kGap - width_of(number, dot), dot);
    if (i % column_step == 0) draw_number(picture_HWC, number, kGap, left + middle - width_of(number, dot) / 2, dot);
  }
  if (cell >= kSharesFrom) {
    for (int64_t row = 0; row < classes; ++row) {
      for (int64_t column = 0; column < classes; ++column) {
        const auto share = share_KK[row][column].item<float>();
        const auto percent = static_cast<int64_t>(std::lround(100 * share));
        if (percent == 0) continue;
        draw_number(picture_HWC, percent, top + row * cell + (cell - 10) / 2,
                    left + column * cell + (cell - width_of(percent, 2)) / 2, 2, share > 0.6F ? kPaperInk : kNumberInk);
      }
    }
  }
  return picture_HWC;
}

}  // namespace beit

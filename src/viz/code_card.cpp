#include "viz/code_card.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "viz/drawing.h"

namespace beit {
namespace {

constexpr int64_t kGap = 4, kMargin = 8, kLeading = 6, kFrame = 1;  // pixels
constexpr int64_t kMapSide = 168;                                   // pixels, about
constexpr int64_t kExampleColumns = 4;
constexpr int64_t kTitleDot = 3, kTextDot = 2;  // pixels
constexpr float kFullUse[] = {0, 60, 130};      // dark blue; white where there is none
constexpr uint8_t kFrameGrey = 120, kNoExample = 225;

struct Line {
  std::string text;
  int64_t dot;
};

torch::Tensor paper(int64_t height, int64_t width) { return torch::full({height, width, 3}, 255, torch::kUInt8); }

torch::Tensor map_of_uses(const torch::Tensor& uses_N, const Grid& grid) {
  const int64_t pixels = std::max<int64_t>(1, kMapSide / std::max(grid.rows, grid.columns));
  const auto share_HW1 = (uses_N.to(torch::kFloat32) / uses_N.max().clamp_min(1)).view({grid.rows, grid.columns, 1});
  const auto colour_HW3 = 255 + (torch::tensor(at::ArrayRef<float>(kFullUse)) - 255) * share_HW1;
  const auto map_HW3 = colour_HW3.round().to(torch::kUInt8).repeat_interleave(pixels, 0).repeat_interleave(pixels, 1);
  const auto framed_HW3 =
      torch::full({map_HW3.size(0) + 2 * kFrame, map_HW3.size(1) + 2 * kFrame, 3}, kFrameGrey, torch::kUInt8);
  put_picture(framed_HW3, map_HW3, kFrame, kFrame);
  return framed_HW3;
}

}  // namespace

torch::Tensor code_card(const CodeAtlas& atlas, int64_t code, const Grid& grid,
                        const std::vector<torch::Tensor>& examples) {
  require(code >= 0 && code < atlas.uses_K.size(0) && atlas.where_KN.size(1) == grid.patches(),
          "picture: expected one of {} codes and a grid of {} patches, got code {} and {}x{}", atlas.uses_K.size(0),
          atlas.where_KN.size(1), code, grid.rows, grid.columns);
  const auto uses = atlas.uses_K[code].item<int64_t>(), all = atlas.uses_K.sum().item<int64_t>();
  const double percent = 100 * static_cast<double>(uses) / static_cast<double>(std::max<int64_t>(all, 1));
  const Line lines[] = {{fmt::format("CODE {}", code), kTitleDot},
                        {fmt::format("USES {} ({:.2f}%)", uses, percent), kTextDot},
                        {fmt::format("IMAGES {} OF {}", atlas.images_K[code].item<int64_t>(), atlas.images), kTextDot}};
  const auto map_HW3 = map_of_uses(atlas.where_KN[code], grid);
  int64_t left_width = map_HW3.size(1), left_height = map_HW3.size(0);
  for (const Line& line : lines) {
    left_width = std::max(left_width, text_width(line.text, line.dot));
    left_height += text_height(line.dot) + kLeading;
  }
  const int64_t side = examples.empty() ? 0 : examples.front().size(0), pitch = side + kGap;
  const int64_t columns = std::min(std::ssize(examples), kExampleColumns);
  const int64_t rows = (std::ssize(examples) + kExampleColumns - 1) / kExampleColumns;
  const int64_t first_left = 2 * kMargin + left_width;
  const auto card_HW3 =
      paper(2 * kMargin + std::max(left_height, rows * pitch - kGap), first_left + columns * pitch - kGap + kMargin);

  int64_t top = kMargin;
  for (const Line& line : lines) {
    draw_text(card_HW3, line.text, top, kMargin, line.dot);
    top += text_height(line.dot) + kLeading;
  }
  put_picture(card_HW3, map_HW3, top, kMargin);
  for (int64_t i = 0; i < std::ssize(examples); ++i) {
    put_picture(card_HW3, examples[static_cast<size_t>(i)], kMargin + i / kExampleColumns * pitch,
                first_left + i % kExampleColumns * pitch);
  }
  return card_HW3;
}

torch::Tensor code_overview(const std::vector<int64_t>& codes, const std::vector<torch::Tensor>& examples,
                            int64_t side) {
  require(!codes.empty() && codes.size() == examples.size() && side > 0,
          "picture: expected at least one code and an example of each, got {} and {}", codes.size(), examples.size());
  const auto count = std::ssize(codes);
  const auto columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const int64_t rows = (count + columns - 1) / columns;
  const int64_t dot = side >= 64 ? 2 : 1, pitch = side + kGap, line = text_height(dot) + 2 * kGap;
  const auto canvas_HW3 = paper(rows * (side + line) + kGap, columns * pitch + kGap);
  for (int64_t i = 0; i < count; ++i) {
    const auto& example_HW3 = examples[static_cast<size_t>(i)];
    const int64_t top = kGap + i / columns * (side + line), left = kGap + i % columns * pitch;
    if (example_HW3.defined()) {
      put_picture(canvas_HW3, example_HW3, top, left);
    } else {
      canvas_HW3.slice(0, top, top + side).slice(1, left, left + side).fill_(kNoExample);
    }
    draw_number(canvas_HW3, codes[static_cast<size_t>(i)], top + side + kGap, left, dot);
  }
  return canvas_HW3;
}

}  // namespace beit

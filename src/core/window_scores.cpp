#include "core/window_scores.h"

#include <algorithm>

#include "base/error.h"

namespace beit {
namespace {

/// Windows that go through the network together: enough to fill a GPU, few enough for its memory.
constexpr size_t kTogether = 8;

struct Corner {
  int64_t y, x;
};

}  // namespace

std::vector<int64_t> window_starts(int64_t side, int64_t window, int64_t stride) {
  require(side > 0 && window > 0 && stride > 0, "window: expected sizes and a stride of at least 1, got {}, {} and {}",
          side, window, stride);
  const int64_t count = std::max<int64_t>(side - window + stride - 1, 0) / stride + 1;
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < count; ++i) starts.push_back(std::max<int64_t>(std::min(i * stride, side - window), 0));
  return starts;
}

torch::Tensor window_logits(Segmenter& segmenter, const torch::Tensor& view_1Chw, int64_t stride) {
  const torch::NoGradGuard no_grad;
  require(view_1Chw.dim() == 4 && view_1Chw.size(0) == 1 && view_1Chw.numel() > 0,
          "window: expected one image [1, C, H, W], got [{}]", fmt::join(view_1Chw.sizes(), ", "));
  if (stride == 0) return segmenter->scores(view_1Chw);
  const auto& vit = segmenter->options().vit;
  const int64_t rows = vit.grid.rows * vit.patch_size, columns = vit.grid.columns * vit.patch_size;
  require(stride > 0 && stride <= std::min(rows, columns),
          "window: expected a stride from 1 to {}, the size of a window, got {}; change --stride, 0 takes the whole "
          "image at once",
          std::min(rows, columns), stride);
  const int64_t height = std::min(rows, view_1Chw.size(2)), width = std::min(columns, view_1Chw.size(3));

  std::vector<Corner> corners;
  for (const int64_t y : window_starts(view_1Chw.size(2), height, stride)) {
    for (const int64_t x : window_starts(view_1Chw.size(3), width, stride)) corners.push_back({y, x});
  }
  const auto window = [&](const torch::Tensor& of, const Corner& corner) {
    return of.narrow(2, corner.y, height).narrow(3, corner.x, width);
  };
  torch::Tensor sums_1Khw, counts_11hw;
  for (size_t first = 0; first < corners.size(); first += kTogether) {
    const size_t end = std::min(first + kTogether, corners.size());
    std::vector<torch::Tensor> windows;
    for (size_t i = first; i < end; ++i) windows.push_back(window(view_1Chw, corners[i]));
    const auto logits_BKhw = segmenter->scores(torch::cat(windows));
    if (!sums_1Khw.defined()) {
      sums_1Khw = torch::zeros({1, logits_BKhw.size(1), view_1Chw.size(2), view_1Chw.size(3)}, logits_BKhw.options());
      counts_11hw = torch::zeros({1, 1, view_1Chw.size(2), view_1Chw.size(3)}, logits_BKhw.options());
    }
    for (size_t i = first; i < end; ++i) {
      window(sums_1Khw, corners[i]).add_(logits_BKhw[static_cast<int64_t>(i - first)]);
      window(counts_11hw, corners[i]).add_(1);
    }
  }
  return sums_1Khw.div_(counts_11hw);
}

torch::Tensor window_scores(Segmenter& segmenter, const std::vector<torch::Tensor>& views_1Chw, int64_t height,
                            int64_t width, const WindowOptions& options) {
  const torch::NoGradGuard no_grad;
  require(!views_1Chw.empty() && height > 0 && width > 0,
          "window: expected at least one view and a positive size of the result, got {} views and {}x{}",
          views_1Chw.size(), height, width);
  torch::Tensor sum_1KHW;
  const auto add = [&](const torch::Tensor& view_1Chw, bool mirrored) {
    const auto given_1Chw = mirrored ? view_1Chw.flip(3) : view_1Chw;
    const auto logits_1Khw = window_logits(segmenter, given_1Chw, options.stride);
    auto found_1KHW = resize_map(logits_1Khw, height, width).softmax(1);
    if (mirrored) found_1KHW = found_1KHW.flip(3);
    sum_1KHW = sum_1KHW.defined() ? sum_1KHW.add_(found_1KHW) : found_1KHW;
  };
  for (const auto& view_1Chw : views_1Chw) {
    add(view_1Chw, false);
    if (options.flip) add(view_1Chw, true);
  }
  return sum_1KHW.div_(static_cast<double>(views_1Chw.size() * (options.flip ? 2 : 1)));
}

}  // namespace beit

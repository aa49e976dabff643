#include "data/views.h"

#include <cstring>
#include <optional>

#include "data/image.h"

namespace beit {
namespace {

// The draw that all views of an image share; no box: the evaluation view.
std::optional<Box> draw_box(const torch::Tensor& pixels_HWC, double min_crop, Random& random) {
  if (min_crop >= 1.0) return std::nullopt;
  return random_resized_crop({pixels_HWC.size(0), pixels_HWC.size(1)}, min_crop, 1.0, random);
}

torch::Tensor cut(const torch::Tensor& pixels_HWC, const std::optional<Box>& box, const ImageSize& size) {
  return box ? resize(pixels_HWC, *box, size, Filter::kBicubic) : evaluation_view(pixels_HWC, size);
}

// Not clone(), which would use LibTorch's threads beside our own.
torch::Tensor copy_of(const torch::Tensor& pixels_HWC) {
  auto copy_HWC = torch::empty_like(pixels_HWC);
  std::memcpy(copy_HWC.mutable_data_ptr<uint8_t>(), pixels_HWC.const_data_ptr<uint8_t>(), pixels_HWC.nbytes());
  return copy_HWC;
}

}  // namespace

TokenizerView tokenizer_view(const torch::Tensor& pixels_HWC, const TokenizerViewOptions& options, Random& random) {
  require_pixels(pixels_HWC, "tokenizer view");
  const bool mirrored = random.uniform() < 0.5;
  const auto box = draw_box(pixels_HWC, options.min_crop, random);
  return {to_float(cut(pixels_HWC, box, options.size), kUnitScale, mirrored), mirrored};
}

PretrainingViews pretraining_views(const torch::Tensor& pixels_HWC, const PretrainingViewOptions& options,
                                   Random& random) {
  require_pixels(pixels_HWC, "pre-training views");
  const auto colored_HWC = options.color_jitter > 0.0 ? copy_of(pixels_HWC) : pixels_HWC;
  color_jitter_(colored_HWC, options.color_jitter, random);
  const bool mirrored = random.uniform() < 0.5;
  const auto box = draw_box(pixels_HWC, options.min_crop, random);
  const auto student_HWC = cut(colored_HWC, box, options.student_size);
  const auto tokenizer_HWC =
      options.tokenizer_size == options.student_size ? student_HWC : cut(colored_HWC, box, options.tokenizer_size);
  return {to_float(student_HWC, kImagenetScale, mirrored), to_float(tokenizer_HWC, kUnitScale, mirrored)};
}

}  // namespace beit

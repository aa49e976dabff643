#include "data/random_erasing.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "data/box.h"

namespace beit {
namespace {

int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }  // half to even

std::optional<Box> draw_box(const ImageSize& image, const RandomErasingOptions& options, Random& random) {
  const double area = static_cast<double>(image.height * image.width) / static_cast<double>(options.count);
  const double widest = -std::log(options.min_aspect);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = random.uniform(options.min_area, options.max_area) * area;
    const double aspect = std::exp(random.uniform(-widest, widest));
    const int64_t height = rounded(std::sqrt(target * aspect)), width = rounded(std::sqrt(target / aspect));
    if (height >= image.height || width >= image.width) continue;
    const int64_t top = random.integer(0, image.height - height + 1);
    return Box{top, random.integer(0, image.width - width + 1), height, width};
  }
  return std::nullopt;
}

}  // namespace

void random_erasing_(const torch::Tensor& image_CHW, const RandomErasingOptions& options, Random& random) {
  require(image_CHW.defined() && image_CHW.dim() == 3 && image_CHW.size(0) == 3 && image_CHW.is_contiguous() &&
              image_CHW.is_cpu() && image_CHW.scalar_type() == torch::kFloat32,
          "random erasing: expected a contiguous float32 image [3, H, W], got {} of {} dimensions",
          image_CHW.defined() ? c10::toString(image_CHW.scalar_type()) : "nothing",
          image_CHW.defined() ? image_CHW.dim() : 0);
  require(options.probability >= 0.0 && options.probability <= 1.0 && options.count >= 1 && options.min_area > 0.0 &&
              options.min_area <= options.max_area && options.max_area <= 1.0 && options.min_aspect > 0.0 &&
              options.min_aspect <= 1.0,
          "random erasing: expected a probability in [0, 1], a count of at least 1, 0 < least area <= most area <= 1 "
          "and an aspect in (0, 1], got {}, {}, {}, {} and {}",
          options.probability, options.count, options.min_area, options.max_area, options.min_aspect);
  if (options.probability == 0.0 || random.uniform() >= options.probability) return;
  const ImageSize size{image_CHW.size(1), image_CHW.size(2)};
  auto* image = image_CHW.mutable_data_ptr<float>();
  for (int64_t i = 0; i < options.count; ++i) {
    const auto box = draw_box(size, options, random);
    if (!box) continue;
    for (int64_t channel = 0; channel < 3; ++channel) {
      for (int64_t y = box->top; y < box->top + box->height; ++y) {
        float* row = image + (channel * size.height + y) * size.width + box->left;
        for (int64_t x = 0; x < box->width; ++x) row[x] = static_cast<float>(random.normal());
      }
    }
  }
}

}  // namespace beit

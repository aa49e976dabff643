#include "data/mixup.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace beit {
namespace {

// The logarithm of a number from Gamma(alpha, 1): Marsaglia and Tsang (2000), for alpha + 1 and then scaled down.
double log_gamma_draw(double alpha, Random& random) {
  const double d = alpha + 1.0 - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = random.normal(), root = 1.0 + c * x;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (std::log(1.0 - random.uniform()) >= 0.5 * x * x + d - d * v + d * std::log(v)) continue;
    return std::log(d * v) + std::log(1.0 - random.uniform()) / alpha;
  }
}

double beta_draw(double alpha, Random& random) {
  const double first = log_gamma_draw(alpha, random), second = log_gamma_draw(alpha, random);
  return 1.0 / (1.0 + std::exp(second - first));
}

}  // namespace

Mix draw_mix(const MixupOptions& options, const ImageSize& size, Random& random) {
  const auto is_share = [](double x) { return x >= 0.0 && x <= 1.0; };
  require(options.mixup_alpha >= 0.0 && options.cutmix_alpha >= 0.0 && std::isfinite(options.mixup_alpha) &&
              std::isfinite(options.cutmix_alpha) && is_share(options.probability) &&
              is_share(options.switch_probability),
          "mixup: expected alphas of at least 0 and probabilities in [0, 1], got {}, {}, {} and {}",
          options.mixup_alpha, options.cutmix_alpha, options.probability, options.switch_probability);
  require(size.height > 0 && size.width > 0, "mixup: expected images of at least 1 x 1, got {} x {}", size.height,
          size.width);
  const bool has_mixup = options.mixup_alpha > 0.0, has_cutmix = options.cutmix_alpha > 0.0;
  if (!has_mixup && !has_cutmix) return {};
  if (random.uniform() >= options.probability) return {};
  const bool cuts = has_cutmix && (!has_mixup || random.uniform() < options.switch_probability);
  if (!cuts) return {.share = beta_draw(options.mixup_alpha, random), .box = {}};

  const double side = std::sqrt(1.0 - beta_draw(options.cutmix_alpha, random));
  const auto draw_interval = [&](int64_t whole) {
    const auto part = static_cast<int64_t>(static_cast<double>(whole) * side);
    const int64_t center = random.integer(0, whole);
    const int64_t begin = std::clamp<int64_t>(center - part / 2, 0, whole);
    return std::pair{begin, std::clamp<int64_t>(center + (part + 1) / 2, 0, whole) - begin};
  };
  const auto [top, height] = draw_interval(size.height);
  const auto [left, width] = draw_interval(size.width);
  const double pasted = static_cast<double>(height * width) / static_cast<double>(size.height * size.width);
  return {.share = 1.0 - pasted, .box = {top, left, height, width}};
}

torch::Tensor given_pixels(const torch::Tensor& images_BCHW, const Mix& mix) {
  require(images_BCHW.defined() && images_BCHW.dim() == 4 && images_BCHW.is_floating_point(),
          "mixup: expected float images [B, 3, H, W], got {} dimensions",
          images_BCHW.defined() ? images_BCHW.dim() : 0);
  const Box& box = mix.box;
  require(contains({0, 0, images_BCHW.size(2), images_BCHW.size(3)}, box),
          "mixup: expected a box within {} x {}, got top {} left {} of {} x {}", images_BCHW.size(2),
          images_BCHW.size(3), box.top, box.left, box.height, box.width);
  if (box.is_empty()) return images_BCHW;
  return images_BCHW.narrow(2, box.top, box.height).narrow(3, box.left, box.width);
}

MixedBatch mix_batch(const torch::Tensor& images_BCHW, const torch::Tensor& labels_B, const Partners& partners,
                     int64_t classes, double smoothing, const Mix& mix) {
  const auto own_BCHW = given_pixels(images_BCHW, mix);
  require(labels_B.defined() && labels_B.dim() == 1 && labels_B.size(0) == images_BCHW.size(0) &&
              labels_B.scalar_type() == torch::kInt64,
          "mixup: expected {} int64 labels, one an image, got {}", images_BCHW.size(0),
          labels_B.defined() ? labels_B.numel() : 0);
  require(classes >= 1 && smoothing >= 0.0 && smoothing < 1.0 && mix.share >= 0.0 && mix.share <= 1.0,
          "mixup: expected at least one class, a smoothing in [0, 1) and a share in [0, 1], got {}, {} and {}", classes,
          smoothing, mix.share);
  const double off = smoothing / static_cast<double>(classes);
  const auto targets = [&](const torch::Tensor& of_B) {
    if (of_B.is_cpu() && of_B.numel() > 0) {
      const auto [least, most] = torch::aminmax(of_B);
      require(least.item<int64_t>() >= 0 && most.item<int64_t>() < classes,
              "mixup: expected labels in [0, {}), got {} to {}; check that the data has no other classes", classes,
              least.item<int64_t>(), most.item<int64_t>());
    }
    const auto targets_BK = torch::full({of_B.size(0), classes}, off, of_B.options().dtype(torch::kFloat32));
    return targets_BK.scatter(1, of_B.unsqueeze(1), 1.0 - smoothing + off);
  };
  if (mix.share == 1.0) return {images_BCHW, targets(labels_B)};
  require(partners.pixels_BCHW.defined() && partners.pixels_BCHW.sizes() == own_BCHW.sizes() &&
              partners.labels_B.defined() && partners.labels_B.sizes() == labels_B.sizes() &&
              partners.labels_B.scalar_type() == torch::kInt64,
          "mixup: expected partners with pixels [{}] and as many labels, got others",
          fmt::join(own_BCHW.sizes(), ", "));
  const auto targets_BK = targets(labels_B) * mix.share + targets(partners.labels_B) * (1.0 - mix.share);
  if (mix.box.is_empty()) {
    return {images_BCHW * mix.share + partners.pixels_BCHW * (1.0 - mix.share), targets_BK};
  }
  const auto mixed_BCHW = images_BCHW.clone();
  given_pixels(mixed_BCHW, mix).copy_(partners.pixels_BCHW);
  return {mixed_BCHW, targets_BK};
}

MixedBatch mix_batch(const torch::Tensor& images_BCHW, const torch::Tensor& labels_B, int64_t classes, double smoothing,
                     const Mix& mix) {
  const auto pixels_BCHW = given_pixels(images_BCHW, mix);
  require(labels_B.defined() && labels_B.dim() == 1, "mixup: expected labels [B], got {} dimensions",
          labels_B.defined() ? labels_B.dim() : 0);
  return mix_batch(images_BCHW, labels_B, {pixels_BCHW.flip(0), labels_B.flip(0)}, classes, smoothing, mix);
}

}  // namespace beit

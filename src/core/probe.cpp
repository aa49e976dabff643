#include "core/probe.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/random.h"

namespace beit {

FeaturePooling feature_pooling(std::string_view name) {
  if (name == "mean") return FeaturePooling::kMean;
  if (name == "cls") return FeaturePooling::kCls;
  if (name == "both") return FeaturePooling::kBoth;
  fail("probe: expected pooling mean, cls or both, got '{}'; check --pooling", name);
}

torch::Tensor pool(const torch::Tensor& tokens_BTD, FeaturePooling pooling) {
  const auto cls_BD = tokens_BTD.select(1, 0), mean_BD = tokens_BTD.slice(1, 1).mean(1);
  if (pooling == FeaturePooling::kBoth) return torch::cat({cls_BD, mean_BD}, 1);
  return pooling == FeaturePooling::kCls ? cls_BD : mean_BD;
}

void check_features(const LabelledFeatures& set, std::string_view name, int64_t width, int64_t classes) {
  const auto& [features_MF, labels_M] = set;
  require(features_MF.dim() == 2 && labels_M.dim() == 1 && features_MF.size(0) == labels_M.size(0) &&
              features_MF.size(0) > 0 && features_MF.size(1) == width,
          "probe: expected {} features [M, {}] and as many labels, got {} and {}", name, width,
          fmt::join(features_MF.sizes(), " x "), fmt::join(labels_M.sizes(), " x "));
  check_labels(labels_M, features_MF.size(0), name, classes);
  require(features_MF.isfinite().all().item<bool>(), "probe: expected finite {} features, got NaN or infinity", name);
}

void check_labels(const torch::Tensor& labels_M, int64_t samples, std::string_view name, int64_t classes) {
  require(labels_M.dim() == 1 && labels_M.size(0) == samples && samples > 0,
          "probe: expected {} labels of {} samples, got {}", name, samples, fmt::join(labels_M.sizes(), " x "));
  require(labels_M.min().item<int64_t>() >= 0 && labels_M.max().item<int64_t>() < classes,
          "probe: expected {} labels in [0, {}), got {} to {}; every image needs a class", name, classes,
          labels_M.min().item<int64_t>(), labels_M.max().item<int64_t>());
}

HeldOut hold_out(const torch::Tensor& labels_M, double share, uint64_t seed) {
  const int64_t samples = labels_M.size(0);
  require(samples >= 2, "probe: expected at least two training images, one of them to hold out, got {}", samples);
  require(share > 0 && share < 1, "probe: expected a held-out share in (0, 1), got {}", share);
  const auto order_M = torch::tensor(Random(seed, 0, 0, Purpose::kOrder).permutation(samples)).to(labels_M.device());
  const auto held = std::clamp<int64_t>(std::llround(share * static_cast<double>(samples)), 1, samples - 1);
  return {order_M.slice(0, 0, held), order_M.slice(0, held)};
}

LabelledFeatures rows_of(const LabelledFeatures& set, const torch::Tensor& rows) {
  return {set.features_MF.index_select(0, rows), set.labels_M.index_select(0, rows)};
}

double rate_share(int64_t step, int64_t steps, int64_t warmup_steps) {
  if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const auto done = static_cast<double>(step - warmup_steps);
  return 0.5 *
         (1 + std::cos(std::numbers::pi * done / static_cast<double>(std::max<int64_t>(1, steps - warmup_steps))));
}

int64_t rows_at_once(int64_t columns) {
  constexpr int64_t kNumbers = int64_t{1} << 22;
  return std::max<int64_t>(1, kNumbers / std::max<int64_t>(1, columns));
}

}  // namespace beit

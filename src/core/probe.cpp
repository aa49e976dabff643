#include "core/probe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "core/metrics.h"

namespace beit {
namespace {

namespace F = torch::nn::functional;

constexpr int64_t kScoresAtOnce = int64_t{1} << 22;  // 16 MiB of float32

int64_t rows_at_once(int64_t columns) { return std::max<int64_t>(1, kScoresAtOnce / std::max<int64_t>(1, columns)); }

void check(const LabelledFeatures& set, std::string_view name, int64_t width, int64_t classes) {
  const auto& [features_MF, labels_M] = set;
  require(features_MF.dim() == 2 && labels_M.dim() == 1 && features_MF.size(0) == labels_M.size(0) &&
              features_MF.size(0) > 0 && features_MF.size(1) == width,
          "probe: expected {} features [M, {}] and as many labels, got {} and {}", name, width,
          fmt::join(features_MF.sizes(), " x "), fmt::join(labels_M.sizes(), " x "));
  require(labels_M.min().item<int64_t>() >= 0 && labels_M.max().item<int64_t>() < classes,
          "probe: expected {} labels in [0, {}), got {} to {}; every image needs a class", name, classes,
          labels_M.min().item<int64_t>(), labels_M.max().item<int64_t>());
  require(features_MF.isfinite().all().item<bool>(), "probe: expected finite {} features, got NaN or infinity", name);
}

// The classifier's weights with the bias as last column.
struct Objective {
  const torch::Tensor& x_MF;
  const torch::Tensor& labels_M;
  double strength;

  // The gradient by hand, slice by slice: no matrix of all logits and no graph.
  double loss_and_gradient(const torch::Tensor& w_KG, torch::Tensor& gradient_KG) const {
    const int64_t samples = x_MF.size(0), width = x_MF.size(1), step = rows_at_once(w_KG.size(0));
    const auto w_KF = w_KG.slice(1, 0, width), bias_K = w_KG.select(1, width);
    auto gradient_KF = gradient_KG.slice(1, 0, width), gradient_K = gradient_KG.select(1, width);
    gradient_KF.copy_(w_KF * (strength * static_cast<double>(samples)));
    gradient_K.zero_();
    double loss = 0;
    for (int64_t first = 0; first < samples; first += step) {
      const auto x_mF = x_MF.slice(0, first, first + step);
      const auto labels_m1 = labels_M.slice(0, first, first + step).unsqueeze(1);
      const auto log_p_mK = torch::log_softmax(torch::addmm(bias_K, x_mF, w_KF.t()), 1);
      loss -= log_p_mK.gather(1, labels_m1).sum(torch::kFloat64).item<double>();
      auto error_mK = log_p_mK.exp();
      error_mK.scatter_add_(1, labels_m1, torch::full_like(labels_m1, -1, error_mK.options()));
      gradient_KF.addmm_(error_mK.t(), x_mF);
      gradient_K.add_(error_mK.sum(0));
    }
    gradient_KG.div_(static_cast<double>(samples));
    return loss / static_cast<double>(samples) + 0.5 * strength * w_KF.square().sum(torch::kFloat64).item<double>();
  }
};

// Minimises from `w_KG` on, in place.
void fit(torch::Tensor& w_KG, const Objective& objective, int64_t iterations) {
  w_KG.mutable_grad() = torch::empty_like(w_KG);
  torch::optim::LBFGS optimizer(
      {w_KG}, torch::optim::LBFGSOptions(1).max_iter(iterations).history_size(10).line_search_fn("strong_wolfe"));
  optimizer.step([&] {
    const torch::NoGradGuard no_grad;
    return torch::tensor(objective.loss_and_gradient(w_KG, w_KG.mutable_grad()), torch::kFloat64);
  });
}

double top1_of(const torch::Tensor& w_KG, const torch::Tensor& x_MF, const torch::Tensor& labels_M) {
  const int64_t samples = x_MF.size(0), width = x_MF.size(1), step = rows_at_once(w_KG.size(0));
  double right = 0;
  for (int64_t first = 0; first < samples; first += step) {
    const auto x_mF = x_MF.slice(0, first, first + step);
    const auto logits_mK = torch::addmm(w_KG.select(1, width), x_mF, w_KG.slice(1, 0, width).t());
    right += top1_percent(logits_mK, labels_M.slice(0, first, first + step)) * static_cast<double>(x_mF.size(0));
  }
  return right / static_cast<double>(samples);
}

torch::Tensor starting_weights(int64_t classes, int64_t width, const LinearProbeOptions& options,
                               const torch::TensorOptions& like) {
  Random random(options.seed, 0, 0, Purpose::kWeights);
  std::vector<float> values(static_cast<size_t>(classes * (width + 1)));
  for (float& value : values) value = static_cast<float>(0.01 * random.normal());
  return torch::tensor(values).view({classes, width + 1}).to(like);
}

}  // namespace

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

LinearProbeResult linear_probe(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                               const LinearProbeOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t samples = train.features_MF.size(0), width = train.features_MF.size(-1);
  check(train, "training", width, classes);
  check(val, "validation", width, classes);
  require(samples >= 2, "probe: expected at least two training images, one of them to hold out, got {}", samples);
  require(!options.strengths.empty() && options.held_out > 0 && options.held_out < 1 && options.iterations > 0,
          "probe: expected strengths, a held-out share in (0, 1) and iterations, got {} strengths, {} and {}",
          options.strengths.size(), options.held_out, options.iterations);

  const auto mean_F = train.features_MF.mean(0);
  // A feature that never changes says nothing: it stays zero.
  const auto scale_F = train.features_MF.std(0, /*unbiased=*/false).clamp_min(1e-6).reciprocal();
  const auto x_MF = (train.features_MF - mean_F) * scale_F;
  const auto start_KG = starting_weights(classes, width, options, x_MF.options());

  const auto order = Random(options.seed, 0, 0, Purpose::kOrder).permutation(samples);
  const auto order_M = torch::tensor(order).to(x_MF.device());
  const auto held = std::clamp<int64_t>(std::llround(options.held_out * static_cast<double>(samples)), 1, samples - 1);
  LinearProbeResult best{.top1 = 0, .held_out_top1 = -1, .strength = 0};
  {
    const auto part = [&](int64_t first, int64_t end) {
      const auto rows = order_M.slice(0, first, end);
      return LabelledFeatures{x_MF.index_select(0, rows), train.labels_M.index_select(0, rows)};
    };
    const auto held_out = part(0, held), rest = part(held, samples);
    for (const double strength : options.strengths) {
      auto w_KG = start_KG.clone();
      fit(w_KG, {rest.features_MF, rest.labels_M, strength}, options.iterations);
      const double top1 = top1_of(w_KG, held_out.features_MF, held_out.labels_M);
      if (top1 > best.held_out_top1) best = {.top1 = 0, .held_out_top1 = top1, .strength = strength};
    }
  }
  auto w_KG = start_KG.clone();
  fit(w_KG, {x_MF, train.labels_M, best.strength}, options.iterations);
  best.top1 = top1_of(w_KG, (val.features_MF - mean_F) * scale_F, val.labels_M);
  return best;
}

double knn_top1(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                const KnnOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t samples = train.features_MF.size(0);
  check(train, "training", train.features_MF.size(-1), classes);
  check(val, "validation", train.features_MF.size(-1), classes);
  require(options.neighbours > 0 && options.temperature > 0,
          "probe: expected a positive number of neighbours and temperature, got {} and {}", options.neighbours,
          options.temperature);
  const auto known_FM = F::normalize(train.features_MF, F::NormalizeFuncOptions().dim(1)).t();
  const int64_t step = rows_at_once(samples), neighbours = std::min(options.neighbours, samples);
  double right = 0;
  for (int64_t first = 0; first < val.features_MF.size(0); first += step) {
    const auto asked_mF = F::normalize(val.features_MF.slice(0, first, first + step), F::NormalizeFuncOptions().dim(1));
    const auto [cosine_mN, nearest_mN] = asked_mF.mm(known_FM).topk(neighbours, 1);
    const auto classes_mN = train.labels_M.index_select(0, nearest_mN.flatten()).view_as(nearest_mN);
    // Less 1 in the exponent: the same order without large numbers.
    const auto votes_mK = torch::zeros({asked_mF.size(0), classes}, asked_mF.options())
                              .scatter_add_(1, classes_mN, ((cosine_mN - 1) / options.temperature).exp());
    right += top1_percent(votes_mK, val.labels_M.slice(0, first, first + step)) * static_cast<double>(asked_mF.size(0));
  }
  return right / static_cast<double>(val.features_MF.size(0));
}

}  // namespace beit

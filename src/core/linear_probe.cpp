#include "core/linear_probe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "core/metrics.h"

namespace beit {
namespace {

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

}  // namespace

torch::Tensor starting_weights(int64_t classes, int64_t width, uint64_t seed, const torch::TensorOptions& like) {
  Random random(seed, 0, 0, Purpose::kWeights);
  std::vector<float> values(static_cast<size_t>(classes * (width + 1)));
  for (float& value : values) value = static_cast<float>(0.01 * random.normal());
  return torch::tensor(values).view({classes, width + 1}).to(like);
}

LinearProbeResult linear_probe(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                               const LinearProbeOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t width = train.features_MF.size(-1);
  check_features(train, "training", width, classes);
  check_features(val, "validation", width, classes);
  require(!options.strengths.empty() && options.iterations > 0,
          "probe: expected strengths and iterations, got {} strengths and {}", options.strengths.size(),
          options.iterations);
  const HeldOut parts = hold_out(train.labels_M, options.held_out, options.seed);

  const auto mean_F = train.features_MF.mean(0);
  // A feature that never changes says nothing: it stays zero.
  const auto scale_F = train.features_MF.std(0, /*unbiased=*/false).clamp_min(1e-6).reciprocal();
  const auto x_MF = (train.features_MF - mean_F) * scale_F;
  const auto start_KG = starting_weights(classes, width, options.seed, x_MF.options());

  LinearProbeResult best{.top1 = 0, .held_out_top1 = -1, .strength = 0};
  {
    const auto held_out = rows_of({x_MF, train.labels_M}, parts.held),
               rest = rows_of({x_MF, train.labels_M}, parts.rest);
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

}  // namespace beit

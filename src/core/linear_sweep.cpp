// Shape letters: M samples, B of them in a batch, m of them in a slice, F width of a feature, K classes, L learning
// rates.
#include "core/linear_sweep.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "core/linear_probe.h"

namespace beit {
namespace {

constexpr double kTrust = 0.001, kLeastDeviation = 1e-6, kBatchNormMomentum = 0.1, kBatchNormEps = 1e-6;

void check(const LinearSweepOptions& options) {
  require(!options.lrs.empty() && std::ranges::min(options.lrs) > 0,
          "probe: expected positive learning rates, got [{}]; check --lr", fmt::join(options.lrs, ", "));
  require(options.batch_size > 0 && options.epochs > 0 && options.warmup_epochs >= 0 &&
              options.warmup_epochs < options.epochs,
          "probe: expected a batch, epochs and fewer epochs of warm-up, got {}, {} and {}; check --probe-batch, "
          "--epochs and --warmup-epochs",
          options.batch_size, options.epochs, options.warmup_epochs);
  require(options.weight_decay >= 0 && options.momentum >= 0 && options.momentum < 1,
          "probe: expected a weight decay from 0 and a momentum in [0, 1), got {} and {}", options.weight_decay,
          options.momentum);
}

/// Keeps the norm's figures in `heads`.
class Normaliser {
 public:
  Normaliser(FeatureNorm norm, const torch::Tensor& x_MF, LinearHeads& heads) : norm_(norm), heads_(heads) {
    heads.mean_F = torch::zeros({x_MF.size(1)}, x_MF.options());
    heads.scale_F = torch::ones({x_MF.size(1)}, x_MF.options());
    running_var_F_ = heads.scale_F.clone();
    if (norm != FeatureNorm::kStandard) return;
    heads.mean_F = x_MF.mean(0);
    heads.scale_F = x_MF.std(0, /*unbiased=*/false).clamp_min(kLeastDeviation).reciprocal();
  }

  torch::Tensor of_batch(const torch::Tensor& x_BF) {
    if (norm_ == FeatureNorm::kNone) return x_BF;
    if (norm_ == FeatureNorm::kStandard) return (x_BF - heads_.mean_F) * heads_.scale_F;
    return torch::batch_norm(x_BF, {}, {}, heads_.mean_F, running_var_F_, /*training=*/true, kBatchNormMomentum,
                             kBatchNormEps, /*cudnn_enabled=*/false);
  }

  void finish() {
    if (norm_ == FeatureNorm::kBatch) heads_.scale_F = (running_var_F_ + kBatchNormEps).rsqrt();
  }

 private:
  FeatureNorm norm_;
  LinearHeads& heads_;
  torch::Tensor running_var_F_;
};

/// Momentum of one parameter of all heads, whose first dimension is L.
class Momentum {
 public:
  Momentum(const torch::Tensor& parameter, double momentum)
      : velocity_(torch::zeros_like(parameter)), momentum_(momentum) {}

  void step(torch::Tensor& parameter, const torch::Tensor& gradient, const torch::Tensor& lr_L) {
    velocity_.mul_(momentum_).add_(gradient);
    std::vector<int64_t> shape(static_cast<size_t>(parameter.dim()), 1);
    shape[0] = -1;
    parameter.sub_(velocity_ * lr_L.view(shape));
  }

 private:
  torch::Tensor velocity_;
  double momentum_;
};

/// How far each head's gradient is scaled: [L, 1, 1].
torch::Tensor trust(const torch::Tensor& w_LKF, const torch::Tensor& gradient_LKF) {
  const auto weight = torch::linalg_vector_norm(w_LKF, 2, torch::IntArrayRef{1, 2}, /*keepdim=*/true);
  const auto update = torch::linalg_vector_norm(gradient_LKF, 2, torch::IntArrayRef{1, 2}, /*keepdim=*/true);
  return torch::where(weight.gt(0).logical_and(update.gt(0)), kTrust * weight / update, torch::ones_like(weight));
}

}  // namespace

torch::Tensor LinearHeads::logits(const torch::Tensor& features_MF) const {
  const int64_t heads = w_LKF.size(0), classes = w_LKF.size(1);
  const auto x_MF = (features_MF - mean_F) * scale_F;
  return torch::addmm(b_LK.flatten(), x_MF, w_LKF.flatten(0, 1).t()).view({-1, heads, classes}).transpose(0, 1);
}

std::vector<double> LinearHeads::top1(const LabelledFeatures& set) const {
  const torch::NoGradGuard no_grad;
  const int64_t samples = set.features_MF.size(0), step = rows_at_once(w_LKF.size(0) * w_LKF.size(1));
  auto right_L = torch::zeros({w_LKF.size(0)}, set.labels_M.options());
  for (int64_t first = 0; first < samples; first += step) {
    const auto logits_LmK = logits(set.features_MF.slice(0, first, first + step));
    const auto right_Lm = logits_LmK.argmax(2).eq(set.labels_M.slice(0, first, first + step));
    right_L += right_Lm.logical_and(logits_LmK.isfinite().all(2)).sum(1);  // a rate that diverged is never right
  }
  const auto percent_L = (right_L.to(torch::kCPU, torch::kFloat64) * (100.0 / static_cast<double>(samples)));
  const auto* first = percent_L.const_data_ptr<double>();
  return {first, first + percent_L.numel()};
}

LinearHeads train_linear_heads(const LabelledFeatures& train, int64_t classes, const LinearSweepOptions& options) {
  const torch::NoGradGuard no_grad;
  check(options);
  const int64_t samples = train.features_MF.size(0), width = train.features_MF.size(-1);
  check_features(train, "training", width, classes);
  const auto like = train.features_MF.options();
  const auto heads = std::ssize(options.lrs);
  const int64_t batch = std::min(options.batch_size, samples), steps_per_epoch = samples / batch;
  const int64_t steps = options.epochs * steps_per_epoch;
  require(options.norm != FeatureNorm::kBatch || batch > 1,
          "probe: expected batches of two features at least for batch norm, got {}; raise --probe-batch", batch);

  const auto start_KG = starting_weights(classes, width, options.seed, like);
  LinearHeads trained;
  trained.w_LKF = start_KG.slice(1, 0, width).expand({heads, -1, -1}).contiguous();
  trained.b_LK = torch::zeros({heads, classes}, like);
  Normaliser norm(options.norm, train.features_MF, trained);
  Momentum of_weights(trained.w_LKF, options.momentum), of_biases(trained.b_LK, options.momentum);
  const auto lr_L = torch::tensor(options.lrs, torch::kFloat64).mul(static_cast<double>(batch) / 256).to(like);

  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    // The held-out part takes the stream of epoch 0.
    Random random(options.seed, static_cast<uint64_t>(epoch) + 1, 0, Purpose::kOrder);
    const auto order_M = torch::tensor(random.permutation(samples)).to(like.device());
    for (int64_t i = 0; i < steps_per_epoch; ++i) {
      const auto rows_B = order_M.slice(0, i * batch, (i + 1) * batch);
      const auto x_BF = norm.of_batch(train.features_MF.index_select(0, rows_B));
      const auto labels_BL1 = train.labels_M.index_select(0, rows_B).view({-1, 1, 1}).expand({-1, heads, 1});
      const auto logits_BLK = torch::addmm(trained.b_LK.flatten(), x_BF, trained.w_LKF.flatten(0, 1).t());
      auto error_BLK = logits_BLK.view({-1, heads, classes}).softmax(2);
      error_BLK.scatter_add_(2, labels_BL1, torch::full({1, 1, 1}, -1.0, like).expand_as(labels_BL1));
      error_BLK.div_(static_cast<double>(batch));
      auto gradient_LKF = error_BLK.flatten(1).t().mm(x_BF).view_as(trained.w_LKF);
      if (options.weight_decay > 0) gradient_LKF.add_(trained.w_LKF, options.weight_decay);
      if (options.optimizer == ProbeOptimizer::kLars) gradient_LKF.mul_(trust(trained.w_LKF, gradient_LKF));
      const auto rate_L =
          lr_L * rate_share(epoch * steps_per_epoch + i, steps, options.warmup_epochs * steps_per_epoch);
      of_weights.step(trained.w_LKF, gradient_LKF, rate_L);
      of_biases.step(trained.b_LK, error_BLK.sum(0), rate_L);
    }
  }
  norm.finish();
  return trained;
}

std::vector<RateResult> linear_sweep(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                                     const LinearSweepOptions& options) {
  check_features(val, "validation", train.features_MF.size(-1), classes);
  const HeldOut parts = hold_out(train.labels_M, options.held_out, options.seed);
  const auto held_out =
      train_linear_heads(rows_of(train, parts.rest), classes, options).top1(rows_of(train, parts.held));
  const auto whole = train_linear_heads(train, classes, options).top1(val);
  std::vector<RateResult> results;
  for (size_t i = 0; i < options.lrs.size(); ++i) results.push_back({options.lrs[i], held_out[i], whole[i]});
  return results;
}

}  // namespace beit

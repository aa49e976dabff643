// The linear probe by mini-batches, at several learning rates at once (LARS: You et al. 2017; as a linear probe with
// batch norm: MAE, appendix A.1).
// Shape letters: M samples, F width of a feature, K classes, L learning rates.
#pragma once

#include <vector>

#include "core/probe.h"

namespace beit {

enum class ProbeOptimizer {
  kSgd,   ///< with momentum
  kLars,  ///< and each classifier's step scaled by 0.001 |W| / |gradient + decay W|
};

/// What stands between features and classifier; none has weights of its own.
enum class FeatureNorm {
  kNone,
  kStandard,  ///< mean 0 and deviation 1 over the training set
  kBatch,     ///< over each batch; running averages, with momentum 0.1, where the classifier is measured
};

struct LinearSweepOptions {
  ProbeOptimizer optimizer = ProbeOptimizer::kSgd;
  FeatureNorm norm = FeatureNorm::kStandard;
  std::vector<double> lrs{0.001, 0.01, 0.1};  ///< of a batch of 256: times batch / 256
  double momentum = 0.9;
  double weight_decay = 0;    ///< of the weights; the bias has none, and is not scaled by LARS
  int64_t batch_size = 1024;  ///< all training samples, where there are fewer
  int64_t epochs = 100;
  int64_t warmup_epochs = 0;  ///< the rate is rate_share()
  double held_out = 0.2;      ///< share of the training set on which a learning rate is judged
  uint64_t seed = 0;          ///< decides the held-out part, the starting weights and the order of the samples
};

/// Classifiers of one feature, one for each learning rate.
struct LinearHeads {
  torch::Tensor w_LKF, b_LK;
  torch::Tensor mean_F, scale_F;  ///< of the norm

  /// [L, M, K]
  torch::Tensor logits(const torch::Tensor& features_MF) const;
  /// Of each, in percent.
  std::vector<double> top1(const LabelledFeatures& set) const;
};

/// Trains all of them over the same batches: the rows in an order drawn for each epoch, without an incomplete last
/// batch. Each becomes what it would become alone. They start from the same weights, normal of deviation 0.01, and
/// biases 0; the loss is the mean cross-entropy of a batch. Memory: logits of a batch for each learning rate.
/// Error where sizes or labels contradict each other, and for options out of range.
LinearHeads train_linear_heads(const LabelledFeatures& train, int64_t classes, const LinearSweepOptions& options = {});

/// Trains them twice: without the held-out part, to judge them on it, and with the whole training set, for the
/// validation set. A result for each learning rate in their order; which one counts is for the held-out part to say.
std::vector<RateResult> linear_sweep(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                                     const LinearSweepOptions& options = {});

}  // namespace beit

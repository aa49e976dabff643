// What frozen features know of the classes: what all probes share. The probes themselves: core/linear_probe.h,
// core/linear_sweep.h, core/attentive_probe.h, core/knn.h (paper, section 3.3).
// Shape letters: B images, T tokens (CLS first), M samples, F width of a feature, K classes.
#pragma once

#include <torch/torch.h>

#include <string_view>

namespace beit {

/// How the tokens of an image become its feature.
enum class FeaturePooling {
  kMean,  ///< mean of the patch tokens: F = D
  kCls,   ///< the CLS token: F = D
  kBoth,  ///< CLS, then mean: F = 2 D
};

/// `mean`, `cls` or `both`; else an Error.
FeaturePooling feature_pooling(std::string_view name);

/// Tokens [B, T, D] to features [B, F].
torch::Tensor pool(const torch::Tensor& tokens_BTD, FeaturePooling pooling);

/// Features and labels of a data set, on one device.
struct LabelledFeatures {
  torch::Tensor features_MF;  ///< float32
  torch::Tensor labels_M;     ///< int64 in [0, K)
};

/// Error, which calls the set by `name`, unless it has finite features [M, width] and as many labels in [0, classes).
void check_features(const LabelledFeatures& set, std::string_view name, int64_t width, int64_t classes);
/// The same for labels alone, of `samples` samples.
void check_labels(const torch::Tensor& labels_M, int64_t samples, std::string_view name, int64_t classes);

/// Rows of a training set: a part on which settings are chosen, and the rest. The seed alone decides which.
struct HeldOut {
  torch::Tensor held, rest;  ///< int64, on the labels' device; neither is empty
};
/// Error for fewer than two samples, or a share not in (0, 1).
HeldOut hold_out(const torch::Tensor& labels_M, double share, uint64_t seed);

LabelledFeatures rows_of(const LabelledFeatures& set, const torch::Tensor& rows);

/// What a probe that was trained at one learning rate gives.
struct RateResult {
  double lr = 0;             ///< as it was asked for
  double held_out_top1 = 0;  ///< percent of the held-out part, trained on the rest
  double top1 = 0;           ///< percent of the validation set, trained on the whole training set
};

/// What a learning rate is multiplied by in a step, from 0: rises linearly to 1 over the warm-up, then half a cosine
/// towards 0.
double rate_share(int64_t step, int64_t steps, int64_t warmup_steps);

/// How many rows of so many columns make 16 MiB of float32; at least one.
int64_t rows_at_once(int64_t columns);

}  // namespace beit

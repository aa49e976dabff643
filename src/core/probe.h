// What frozen features know of the classes: a linear classifier and the nearest neighbours (paper, section 3.3).
// Shape letters: B images, T tokens (CLS first), M samples, F width of a feature, K classes.
#pragma once

#include <torch/torch.h>

#include <string_view>
#include <vector>

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

struct LinearProbeOptions {
  std::vector<double> strengths{1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1};  ///< of the L2 penalty, tried in this order
  double held_out = 0.2;     ///< share of the training set on which the strength is chosen
  int64_t iterations = 100;  ///< of L-BFGS, at most, for each fit
  uint64_t seed = 0;         ///< decides the held-out part and the starting weights
};

struct LinearProbeResult {
  double top1 = 0;           ///< of the validation set, in percent
  double held_out_top1 = 0;  ///< of the held-out part at the chosen strength, in percent
  double strength = 0;       ///< the chosen one
};

/// Multinomial logistic regression on features standardised by the training set: minimises the mean cross-entropy +
/// strength/2 |W|^2 over all training samples at once by L-BFGS; the bias is not penalised. The strength is the one
/// with the best top-1 on the held-out part of the training set, the first of equals; the classifier is then fitted
/// anew to the whole training set. The validation set decides nothing. The same seed gives the same result.
/// Memory: a standardised copy of the features; logits are made a slice of the rows at a time.
/// Error where sizes or labels contradict each other, or the training set has fewer than two samples.
LinearProbeResult linear_probe(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                               const LinearProbeOptions& options = {});

struct KnnOptions {
  int64_t neighbours = 20;    ///< all training samples, where there are fewer
  double temperature = 0.07;  ///< a neighbour's vote weighs exp(cosine / temperature)
};

/// Top-1 in percent of the weighted vote of the nearest training samples by cosine (Wu et al. 2018, as DINO uses it).
/// Nothing is random in it. The cosines are made a slice of the validation set at a time. Errors as linear_probe().
double knn_top1(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                const KnnOptions& options = {});

}  // namespace beit

// The linear probe by logistic regression to its minimum.
// Shape letters: M samples, F width of a feature, K classes.
#pragma once

#include <vector>

#include "core/probe.h"

namespace beit {

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

/// [K, F + 1], normal of deviation 0.01, on the device and of the type of `like`: how linear probes start.
torch::Tensor starting_weights(int64_t classes, int64_t width, uint64_t seed, const torch::TensorOptions& like);

}  // namespace beit

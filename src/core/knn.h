// The nearest neighbours' vote.
#pragma once

#include <vector>

#include "core/probe.h"

namespace beit {

struct KnnOptions {
  std::vector<int64_t> neighbours{20};     ///< all training samples, where there are fewer
  std::vector<double> temperatures{0.07};  ///< a neighbour's vote weighs exp(cosine / temperature)
};

struct KnnResult {
  int64_t neighbours = 0;
  double temperature = 0;
  double top1 = 0;  ///< of the validation set, in percent
};

/// The weighted vote of the nearest training samples by cosine (Wu et al. 2018, as DINO uses it), for all pairs of
/// both options in their order, temperatures within neighbours. Nothing is random in it and nothing is chosen. The
/// cosines are made once, a slice of the validation set at a time. Errors as linear_probe().
std::vector<KnnResult> knn(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                           const KnnOptions& options = {});

/// The first pair's top-1.
double knn_top1(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                const KnnOptions& options = {});

}  // namespace beit

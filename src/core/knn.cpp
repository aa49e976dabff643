// Shape letters: M and m samples, N neighbours, F width of a feature, K classes.
#include "core/knn.h"

#include <algorithm>

#include "base/error.h"
#include "core/metrics.h"

namespace beit {

namespace F = torch::nn::functional;

std::vector<KnnResult> knn(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                           const KnnOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t samples = train.features_MF.size(0), asked = val.features_MF.size(0);
  check_features(train, "training", train.features_MF.size(-1), classes);
  check_features(val, "validation", train.features_MF.size(-1), classes);
  require(!options.neighbours.empty() && !options.temperatures.empty(),
          "probe: expected neighbours and temperatures, got {} and {}", options.neighbours.size(),
          options.temperatures.size());
  std::vector<KnnResult> results;
  for (const int64_t neighbours : options.neighbours) {
    for (const double temperature : options.temperatures) {
      require(neighbours > 0 && temperature > 0,
              "probe: expected a positive number of neighbours and temperature, got {} and {}", neighbours,
              temperature);
      results.push_back({neighbours, temperature, 0});
    }
  }
  const auto known_FM = F::normalize(train.features_MF, F::NormalizeFuncOptions().dim(1)).t();
  const int64_t step = rows_at_once(samples), most = std::min(std::ranges::max(options.neighbours), samples);
  for (int64_t first = 0; first < asked; first += step) {
    const auto asked_mF = F::normalize(val.features_MF.slice(0, first, first + step), F::NormalizeFuncOptions().dim(1));
    const auto labels_m = val.labels_M.slice(0, first, first + step);
    const auto [cosine_mN, nearest_mN] = asked_mF.mm(known_FM).topk(most, 1);
    const auto classes_mN = train.labels_M.index_select(0, nearest_mN.flatten()).view_as(nearest_mN);
    for (KnnResult& result : results) {
      // Less the largest in the exponent: the same order, and the nearest always has a vote.
      const auto weight_mN =
          ((cosine_mN.slice(1, 0, result.neighbours) - cosine_mN.slice(1, 0, 1)) / result.temperature).exp();
      const auto votes_mK = torch::zeros({asked_mF.size(0), classes}, asked_mF.options())
                                .scatter_add_(1, classes_mN.slice(1, 0, result.neighbours), weight_mN);
      result.top1 += top1_percent(votes_mK, labels_m) * static_cast<double>(asked_mF.size(0));
    }
  }
  for (KnnResult& result : results) result.top1 /= static_cast<double>(asked);
  return results;
}

double knn_top1(const LabelledFeatures& train, const LabelledFeatures& val, int64_t classes,
                const KnnOptions& options) {
  return knn(train, val, classes, options).front().top1;
}

}  // namespace beit

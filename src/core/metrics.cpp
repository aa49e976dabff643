#include "core/metrics.h"

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace beit {

double top1_percent(const torch::Tensor& scores_MK, const torch::Tensor& labels_M) {
  return 100.0 * scores_MK.argmax(1).eq(labels_M).to(torch::kFloat64).mean().item<double>();
}

Summary summarise(std::span<const double> values) {
  require(!values.empty(), "metrics: expected at least one value to average, got none");
  const auto count = static_cast<double>(values.size());
  Summary summary{std::accumulate(values.begin(), values.end(), 0.0) / count, std::nullopt};
  if (values.size() > 1) {
    double squares = 0;
    for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
    summary.spread = std::sqrt(squares / (count - 1));
  }
  return summary;
}

}  // namespace beit

// Figures over samples and over seeds.
// Shape letters: M samples, K classes.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <span>

namespace beit {

/// Share of the rows whose largest score is the label's, in percent: scores [M, K], labels int64 [M].
double top1_percent(const torch::Tensor& scores_MK, const torch::Tensor& labels_M);

/// What several seeds gave.
struct Summary {
  double mean = 0;
  std::optional<double> spread;  ///< standard deviation with n - 1; nothing for a single value
};

/// Error without values.
Summary summarise(std::span<const double> values);

}  // namespace beit

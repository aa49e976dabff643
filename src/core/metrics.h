// Figures over samples and over seeds.
// Shape letters: M samples, K classes.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <span>
#include <vector>

namespace beit {

/// Share of the rows whose largest score is the label's, in percent: scores [M, K], labels int64 [M].
double top1_percent(const torch::Tensor& scores_MK, const torch::Tensor& labels_M);

/// How many scores of its row stand before the label's: int64 [M] of scores [M, K] and labels int64 [M] in [0, K). The
/// label is among the k most likely where that is below k. Of equal scores the first comes first, as for argmax, so
/// that 0 is what argmax takes; what is not a number comes before all.
torch::Tensor label_ranks(const torch::Tensor& scores_MK, const torch::Tensor& labels_M);

/// How well one class is known.
struct ClassFigures {
  int64_t label = 0;
  int64_t samples = 0, right = 0;
  int64_t mistaken_for = -1;  ///< most frequent wrong prediction, the smallest of equally frequent; -1: none
  int64_t mistaken = 0;       ///< how often that
};

/// Of each class that occurs as label, ascending: predictions and labels, int64 [M] from 0 on.
std::vector<ClassFigures> class_figures(const torch::Tensor& predicted_M, const torch::Tensor& labels_M);

/// What several seeds gave.
struct Summary {
  double mean = 0;
  std::optional<double> spread;  ///< standard deviation with n - 1; nothing for a single value
};

/// Error without values.
Summary summarise(std::span<const double> values);

}  // namespace beit

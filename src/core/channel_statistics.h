// Mean and deviation of each channel of a teacher's features over a data set. A raw network map has a few channels of
// large mean or spread, which alone would decide the cosine: standardised, each counts alike.
// Shape letters: B images, N patches, D channels.
#pragma once

#include <torch/torch.h>

#include <functional>

namespace beit {

struct ChannelStatistics {
  torch::Tensor mean_D, std_D;  ///< float32; std_D is positive

  /// (x - mean) / std for features [..., D] on any device, float32.
  torch::Tensor standardise(const torch::Tensor& features) const;
};

/// Sums over batches, in double precision. Not thread-safe.
class ChannelMoments {
 public:
  explicit ChannelMoments(int64_t channels);

  /// Features [..., D]: each row counts once. Error for another D.
  void add(const torch::Tensor& features);

  /// Of all rows added so far; the deviation with n in the denominator, 1 for a channel that never changes.
  /// `sum_over_ranks` adds a tensor over all ranks in place: collective. Error where no row was added on any rank.
  ChannelStatistics statistics(const std::function<void(torch::Tensor&)>& sum_over_ranks = {}) const;

 private:
  torch::Tensor sums_D_, squares_D_;  ///< float64
  int64_t rows_ = 0;
};

}  // namespace beit

// Batch normalisation whose statistics are those of all ranks' batches together (SyncBN).
// Shape letters: B images, C channels, H height, W width.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "core/ranks.h"

namespace beit {

/// (x - mean) / sqrt(var + 1e-5) * weight + bias for each channel.
///
/// In train() mean and variance are those of the batch at hand, over all ranks, and gradients flow through them; on
/// several ranks as on one that sees all. In eval() they are the running ones. forward() in train() only notes its
/// statistics, and update_statistics() moves the running ones by a tenth towards each (the variance with n - 1 in the
/// denominator), so that a step that is not taken changes nothing.
///
/// Statistics are in at least float32, also under autocast; the result has the type of x.
/// Names in files: weight, bias, running_mean, running_var, num_batches_tracked. Not thread-safe. On several ranks
/// forward() in train() and its backward pass are collective: every rank runs them equally often and in one order.
class BatchNormImpl : public torch::nn::Module {
 public:
  explicit BatchNormImpl(int64_t channels, Ranks ranks = {});

  /// [B, C, H, W] to the same. Error in train() where a channel has a single value.
  torch::Tensor forward(const torch::Tensor& x_BCHW);

  /// Applies what forward() noted since the last call, in its order; nothing after none.
  void update_statistics();
  /// Forgets it: the step is not taken.
  void discard_statistics() { noted_.clear(); }

 private:
  struct Statistics {
    torch::Tensor mean_C, unbiased_var_C;
  };

  torch::Tensor over_ranks(const torch::Tensor& x_BCHW);

  Ranks ranks_;
  torch::Tensor weight_C_, bias_C_, running_mean_C_, running_var_C_, num_batches_tracked_;
  std::vector<Statistics> noted_;
};
TORCH_MODULE(BatchNorm);

}  // namespace beit

// The mean of gradients over all ranks, taken while the backward pass still goes on.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "train/distributed.h"

namespace beit {

/// Gathers gradients in buckets of 25 MiB, the first of 1 MiB, in the order in which a backward pass makes them, and
/// sums a bucket over the ranks as soon as it is full. Buckets never change, so that a resumed run adds up in the same
/// order as an unbroken one. The parameters' gradients may be undefined before, and hold sums of earlier passes, which
/// then count. Both objects must outlive this one. Not thread-safe.
class GradientBuckets {
 public:
  /// Of the module's parameters that require gradients, which are the same on each rank and stay on their device.
  GradientBuckets(Distributed& ranks, const torch::nn::Module& module);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// loss.backward(), at whose end each parameter's gradient is the mean over the ranks; other backward passes add to
  /// this rank's gradients alone. Collective: Error where a rank is lost, and where parameters took no part in the
  /// loss, which it names: their gradient would be unknown to the other ranks.
  void backward(const torch::Tensor& loss);

 private:
  void check_reduced() const;

  struct Reduction;

  Distributed& ranks_;
  std::unique_ptr<Reduction> reduction_;  // none where alone
};

}  // namespace beit

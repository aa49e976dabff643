// One step of training: forward and backward pass over the parts of a batch on all ranks, and the optimizer's move.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "train/distributed.h"
#include "train/gradient_buckets.h"
#include "train/optimizer.h"
#include "train/precision.h"
#include "train/task.h"

namespace beit {

/// What a step gave: means over all its images, of all ranks.
struct StepFigures {
  double loss = 0;
  std::vector<std::pair<std::string, double>> parts = {};
  double grad_norm = 0;  ///< before clipping
};

/// Error where a batch does not divide into ranks and parts.
void check_divides(const TrainOptions& options, int64_t ranks);

/// Collective: every rank makes one and takes the same steps, on its own images. However many ranks there are and
/// parts (--accumulate), the step is that of the whole batch; all that it draws comes from (seed, step) and a sample's
/// place in the batch.
class TrainingStep {
 public:
  /// All that is handed in must outlive it. Errors: those of check_divides(), and for a precision that the device does
  /// not have.
  TrainingStep(TrainingTask& task, AdamW& optimizer, const TrainOptions& options, Distributed& distributed);

  /// Takes the step (counted from 0) with this rank's images of the batch, in train(). Where the loss or a gradient is
  /// not finite nothing changes and it is tried again with other random numbers, `options.retries` times; in float16
  /// first with a smaller scale of the loss. Then `give_up` is called, on all ranks, and an Error names the images
  /// as `names_of` this rank's part says.
  StepFigures take(const Batch& batch, int64_t step, double lr, const std::function<void()>& give_up,
                   const std::function<std::string()>& names_of);

  /// Whether an exception came while weights, optimizer and task moved: they belong to no step, and are of no more use.
  bool torn() const { return torn_; }

  /// What a resumed run needs beside weights and optimizer: the loss's scale, in float16.
  TensorMap state() const { return scale_.state(); }
  void set_state(const TensorMap& state) { scale_.set_state(state); }

 private:
  std::pair<std::vector<Batch>, std::vector<StepPart>> cut(const Batch& batch) const;
  StepFigures gradients(const std::vector<Batch>& batches, const std::vector<StepPart>& parts, uint64_t seed);

  TrainingTask& task_;
  AdamW& optimizer_;
  TrainOptions options_;
  Distributed& distributed_;
  torch::Device device_;
  std::optional<torch::ScalarType> reduced_;
  LossScale scale_;
  GradientBuckets buckets_;
  bool torn_ = false;
};

}  // namespace beit

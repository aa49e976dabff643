// What a command trains, as the training loop sees it.
#pragma once

#include <torch/torch.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/step_part.h"
#include "data/loader.h"
#include "io/safetensors.h"
#include "train/events.h"
#include "train/optimizer.h"

namespace beit {

/// What a step minimises, and what the log shows beside it (scalars by name): means over the images of a forward pass.
struct StepLoss {
  torch::Tensor total;
  std::vector<std::pair<std::string, torch::Tensor>> parts;
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  virtual torch::nn::Module& model() = 0;
  virtual LayerDecay layer_decay() const { return {}; }

  /// Before the passes of a step, in train(): all that they will see. Called again where the step is tried again.
  virtual void begin_step(const std::vector<Batch>& /*batches*/, const std::vector<StepPart>& /*parts*/) {}
  /// Forward pass of a part of a step, in train().
  virtual StepLoss loss(const Batch& batch, const StepPart& part) = 0;

  /// After the optimizer's step: what else moves with it.
  virtual void step_taken() {}
  /// In its place where the step is not taken: what loss() noted is forgotten.
  virtual void step_refused() {}

  virtual void begin_epoch() {}
  /// Figures of the epoch, for the log.
  virtual nlohmann::ordered_json end_epoch() { return nlohmann::ordered_json::object(); }
  /// Figures of the validation set, in eval(); nothing without one. Collective: each rank measures its part.
  virtual nlohmann::ordered_json validate() = 0;

  /// What a resumed run needs beside weights and optimizer, by name.
  virtual TensorMap progress() const { return {}; }
  virtual void set_progress(const TensorMap&) {}

  /// For TensorBoard: a batch's first images and what the model makes of them. Changes nothing; on one rank alone.
  virtual std::vector<Picture> pictures(const Batch& /*batch*/) { return {}; }
  /// For its histograms: values by name.
  virtual std::vector<std::pair<std::string, torch::Tensor>> histograms() { return {}; }
};

}  // namespace beit

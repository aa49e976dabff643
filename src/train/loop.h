// The training loop of all commands: one step reads from top to bottom in train().
#pragma once

#include <torch/torch.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "data/loader.h"
#include "train/optimizer.h"
#include "train/run.h"

namespace beit {

/// What a step minimises, and what it shows beside it (scalars by the names of the log).
struct StepLoss {
  torch::Tensor total;
  std::vector<std::pair<std::string, torch::Tensor>> parts;
};

/// What a command trains.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  virtual torch::nn::Module& model() = 0;

  /// Forward pass of one batch, in train().
  virtual StepLoss loss(const Batch& batch) = 0;

  /// After the optimizer's step: what else moves with it.
  virtual void step_taken() {}

  virtual void begin_epoch() {}

  /// Figures of the epoch and of the validation set, for the log.
  virtual nlohmann::json end_epoch() { return nlohmann::json::object(); }

  /// What a resumed run needs beside weights and optimizer, by name.
  virtual std::map<std::string, torch::Tensor> progress() const { return {}; }
  virtual void set_progress(const std::map<std::string, torch::Tensor>&) {}
};

/// Trains until the last epoch or `options.steps`, from the newest checkpoint where `options.resume` allows it.
/// Everything random in a step comes from (seed, step) or (seed, epoch, image), so a run that was cut off repeats the
/// steps since its last checkpoint as they were. Error where loss or gradients are not finite: the weights before that
/// step are what the last checkpoint and `model.safetensors` hold.
void train(TrainingTask& task, Loader& loader, const TrainOptions& options, const AdamWOptions& optimizer, Run& run);

}  // namespace beit

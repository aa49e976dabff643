// The training loop of all commands: one step reads from top to bottom in train().
#pragma once

#include <torch/torch.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "data/loader.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/schedule.h"

namespace beit {

/// What a step minimises, and what the log shows beside it (scalars by name).
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
  /// In its place where the step is not taken: what loss() noted is forgotten.
  virtual void step_refused() {}

  virtual void begin_epoch() {}
  /// Figures of the epoch, for the log.
  virtual nlohmann::ordered_json end_epoch() { return nlohmann::ordered_json::object(); }
  /// Figures of the validation set, in eval(); nothing without one.
  virtual nlohmann::ordered_json validate() = 0;

  /// What a resumed run needs beside weights and optimizer, by name.
  virtual TensorMap progress() const { return {}; }
  virtual void set_progress(const TensorMap&) {}
};

/// The tensors of a checkpoint: `model.*`, `optimizer.*` and `progress.*`.
TensorMap checkpoint_tensors(const torch::nn::Module& model, const AdamW& optimizer, const TensorMap& progress);

/// Hands all batches of a validation set to `measure`, and returns how many images they held.
int64_t validate_on(Loader& validation, const std::function<void(const Batch&)>& measure);

/// How many steps a run has, and which learning rate each.
struct Plan {
  int64_t steps_per_epoch = 0;
  int64_t last_step = 0;  ///< where the run stops
  CosineSchedule lr;      ///< over all epochs
};

/// Error for options out of range. `peak_lr` is --lr, scaled where the method scales it.
Plan plan(const TrainOptions& options, int64_t steps_per_epoch, double peak_lr);

/// Whether a run that goes on from `state` (Run::resume_state) has nothing left to do, which is then logged.
bool finished(const Run& run, const std::optional<Checkpoint>& state, const Plan& plan);

/// Trains until `plan.last_step`, from `state` where there is one.
/// Everything random in a step comes from (seed, step) or (seed, epoch, image), so a run that was cut off repeats the
/// steps since its last checkpoint as they were. A step whose loss or gradients are not finite changes nothing and is
/// tried again with other random numbers, `options.retries` times; then what was learnt before it is saved, and an Error
/// names its images. `should_stop` is asked after each step; where it says so, the step is saved and an Error says how
/// to go on.
void train(TrainingTask& task, Loader& loader, const Plan& plan, const TrainOptions& options, Run& run,
           const std::optional<Checkpoint>& state, const std::function<bool()>& should_stop);

}  // namespace beit

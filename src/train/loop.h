// The training loop of all commands: one step reads from top to bottom in train().
#pragma once

#include <torch/torch.h>

#include <functional>
#include <optional>

#include "base/config.h"
#include "data/loader.h"
#include "train/distributed.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/schedule.h"
#include "train/task.h"

namespace beit {

/// The tensors that every checkpoint has: `model.*`, `optimizer.*` and `progress.*`. Collective where the optimizer is
/// in shards.
TensorMap checkpoint_tensors(const torch::nn::Module& model, const AdamW& optimizer, const TensorMap& progress);

/// Hands all batches of a validation set to `measure`.
void validate_on(Loader& validation, const std::function<void(const Batch&)>& measure);

/// How many steps a run has, and which learning rate each.
struct Plan {
  int64_t steps_per_epoch = 0;
  int64_t epochs = 0;     ///< of the whole schedule, the last of them maybe not to its end
  int64_t last_step = 0;  ///< where the run stops
  Schedule lr;            ///< over all epochs, or all steps where there are none
};

/// Error for options out of range. `peak_lr` is --lr, scaled where the method scales it.
Plan plan(const TrainOptions& options, int64_t steps_per_epoch, double peak_lr);

/// Whether a run that goes on from `state` (Run::resume_state) has nothing left to do, which is then logged.
/// Collective.
bool finished(const Run& run, const std::optional<Checkpoint>& state, const Plan& plan);

/// Trains until `plan.last_step`, from `state` where there is one. Collective: each rank with its part of the images.
/// Everything random in a step comes from (seed, step) or (seed, epoch, image), so a run that was cut off repeats the
/// steps since its last checkpoint as they were. Where a step cannot be taken, on whichever rank, what was learnt
/// before it is saved, and the Error says why; with the optimizer in shards, only where all ranks are still there.
/// `should_stop` is asked after each step, and answers alike on all ranks;
/// where it says so, the step is saved, and Stopped (base/stopped.h) is thrown.
void train(TrainingTask& task, Loader& loader, const Plan& plan, const TrainOptions& options,
           const RankOptions& rank_options, Run& run, Distributed& distributed, const std::optional<Checkpoint>& state,
           const std::function<bool()>& should_stop);

}  // namespace beit

// What all commands that train have around their own work.
#pragma once

#include <torch/torch.h>

#include <functional>

#include "base/config.h"
#include "train/distributed.h"

namespace beit {

/// What one rank does: with its group, its device, and a question, answered alike on all ranks, whether one of them was
/// sent SIGINT or SIGTERM.
using RankWork = std::function<void(Distributed& distributed, const torch::Device& device,
                                    const std::function<bool()>& should_stop)>;

/// Does the work on each rank: in this process where it is alone or one of those that torchrun, srun or mpirun started,
/// else with --ranks in processes that it starts and watches. What a rank throws the others are told.
/// Error where a step of `train` does not divide into ranks and parts.
void on_ranks(const RankOptions& ranks, const RuntimeOptions& runtime, const TrainOptions& train, const RankWork& work);

}  // namespace beit

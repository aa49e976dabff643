// The machine: which device, how many threads.
#pragma once

#include <torch/torch.h>

#include <string>

#include "base/config.h"
#include "train/rank_place.h"

namespace beit {

/// Sets the number of threads and whether info lines are printed, logs what was chosen, and returns the device.
/// Ranks on one machine share its cores, and each takes the GPU of its number there; those other than rank 0 print only
/// warnings and errors, with their rank. Error where a GPU is asked for and there is none, or fewer than ranks.
/// Called once by each command, before its first tensor.
torch::Device apply(const RuntimeOptions& options, const RankPlace& place = {});

/// The processor's name, and the instructions that LibTorch uses of it.
std::string processor();

}  // namespace beit

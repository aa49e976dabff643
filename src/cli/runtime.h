// The machine: which device, how many threads.
#pragma once

#include <torch/torch.h>

#include <string>

#include "base/config.h"

namespace beit {

/// Sets the number of threads and whether info lines are printed, logs what was chosen, and returns the device.
/// Error where a GPU is asked for and there is none. Called once by each command, before its first tensor.
torch::Device apply(const RuntimeOptions& options);

/// The processor's name, and the instructions that LibTorch uses of it.
std::string processor();

}  // namespace beit

// How much memory a process has taken.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace beit {

/// The most bytes at a time so far: of the process, or on a GPU of LibTorch's tensors there.
int64_t peak_memory(const torch::Device& device);

}  // namespace beit

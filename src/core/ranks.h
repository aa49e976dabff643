// All that the networks know of other processes.
#pragma once

#include <torch/torch.h>

#include <functional>

namespace beit {

/// This process among those that train together. `sum` adds a tensor over all ranks, in place: int64, float32 or
/// float64, of the same shape on each, on the device of the networks.
struct Ranks {
  int64_t rank = 0, size = 1;
  std::function<void(torch::Tensor&)> sum = [](torch::Tensor&) {};
};

}  // namespace beit

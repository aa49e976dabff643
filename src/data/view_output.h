// Where the views of a sample go, and where the time for them.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "data/stage_times.h"

namespace beit {

struct ViewOutput {
  std::vector<torch::Tensor> rows = {};  ///< to be written to and returned, in the views' order; none: new tensors
  StageClock* clock = nullptr;           ///< may be null
};

}  // namespace beit

// How a command looks at every image of --data once.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/config.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/views.h"
#include "train/evaluation_batches.h"

namespace beit {

struct ImagePass {
  std::string command;  ///< errors about all images start with it
  DataOptions data;     ///< how they are decoded
  int64_t batch_size = 64;
  bool skip_damaged = false;
  torch::Device device = torch::kCPU;
  bool quiet = false;  ///< shows no progress
};

/// Hands over the views that `transform` makes of all images, batch by batch in the data's order, views on the device,
/// indices and labels on the CPU. Error for a damaged image, unless it is left out, which is warned of; Error where
/// none is left.
Passed each_batch(const Dataset& images, const Transform& transform, const ImagePass& pass,
                  const std::function<void(const Batch&)>& use);

}  // namespace beit

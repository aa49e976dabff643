// The loop of what looks at many images with a frozen network.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "data/loader.h"

namespace beit {

/// What was looked at.
struct Passed {
  int64_t images = 0, damaged = 0;  ///< handed over, left out
  double images_per_s = 0;
};

/// Hands over the images that `transform` makes, batch by batch in the order of `loading`, `most` at most: the last
/// batch is cut. Views lie on `device`, indices and labels on the CPU. Shows how far it is unless `quiet`.
Passed each_evaluation_batch(const Dataset& images, const Transform& transform, LoaderOptions loading, int64_t most,
                             const torch::Device& device, bool quiet, const std::function<void(const Batch&)>& use);

}  // namespace beit

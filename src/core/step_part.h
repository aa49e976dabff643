// Which samples of a training step a forward pass holds.
// Shape letters: B samples of the pass.
#pragma once

#include <torch/torch.h>

namespace beit {

/// A step's batch may be cut into parts, over ranks and one after another. What is drawn at random for a sample is
/// drawn for all of the step and taken for those at hand: with the generator seeded equally on each rank and before
/// each part, a sample gets the same however the step is cut.
struct StepPart {
  int64_t samples = 0;      ///< of the whole step; 0: the pass holds all of them, in their order
  torch::Tensor samples_B;  ///< int64: where each of the pass's samples stands in the step, in [0, samples)
};

/// Error unless the part names `images` samples of the step. The numbers themselves are looked at on the CPU only: on a
/// GPU that would have to wait for it.
void check_part(const StepPart& part, int64_t images);

/// Float32 [B], uniform in [0, 1), from LibTorch's generator of the device. Quickest where samples_B lies there too.
torch::Tensor uniform_by_sample(int64_t images, const StepPart& part, const torch::Device& device);

}  // namespace beit

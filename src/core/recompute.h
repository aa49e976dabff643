// Time for memory: of a part of a network only its inputs are kept, and the backward pass computes the rest again.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

namespace beit {

/// From inputs to one output, the same each time: it draws no random numbers and changes nothing.
using Recomputed = std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>;

/// body(inputs), with values and gradients equal to the bit to those of calling it. Gradients flow to the inputs, of
/// which some may be undefined, and to `parameters`, all that the body uses beside them; to nothing else. The backward
/// pass runs the body under the autocast of the forward pass, and hands out the parameters' gradients as any operation
/// does: those who wait for them (accumulation, a reduction over ranks) see nothing new.
///
/// `body` is kept until the backward pass and must keep alive what it uses. Error where a gradient of the gradients is
/// asked for. A hook on a parameter itself, not on its accumulation, is called twice.
torch::Tensor recompute(Recomputed body, const std::vector<torch::Tensor>& inputs,
                        const std::vector<torch::Tensor>& parameters);

}  // namespace beit

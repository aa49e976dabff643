// The layers of narrow networks, tile by tile: some rows at a time, with weights that stay in a core's cache.
// Shape letters: M rows, D inputs, F outputs.
#pragma once

#include <torch/torch.h>

namespace beit {

/// Whether tiles pay: weights, of `numbers` together, that fit into a core's cache, and a processor with oneDNN's small
/// products.
bool suits_tiles(int64_t numbers);

/// x W^T + b, all three defined and of sizes that fit, for weights that suit and float32 on the CPU: [M, D] to [M, F],
/// with gradients.
torch::Tensor tiled_linear(const torch::Tensor& x_MD, const torch::Tensor& weight_FD, const torch::Tensor& bias_F);

}  // namespace beit

// The layers of narrow networks, tile by tile: some rows at a time, with weights that stay in a core's cache.
// Shape letters: M rows, D inputs, H hidden width, F outputs.
#pragma once

#include <torch/torch.h>

namespace beit {

/// Whether tiles pay: weights, of `numbers` together, that fit into a core's cache, and a processor with oneDNN's small
/// products.
bool suits_tiles(int64_t numbers);

/// x W^T + b, all three defined and of sizes that fit, for weights that suit and float32 on the CPU: [M, D] to [M, F],
/// with gradients. `bias_F` may be undefined.
torch::Tensor tiled_linear(const torch::Tensor& x_MD, const torch::Tensor& weight_FD, const torch::Tensor& bias_F);

/// What gelu_mlp() gives (core/linear.h), likewise. Rows go through both layers while they are in the cache; between
/// them nothing is kept but what goes into the GELU.
torch::Tensor tiled_mlp(const torch::Tensor& x_MD, const torch::Tensor& weight1_HD, const torch::Tensor& bias1_H,
                        const torch::Tensor& weight2_FH, const torch::Tensor& bias2_F);

}  // namespace beit

// The MLP of narrow networks, tile by tile: some rows go through both layers while they are in a core's cache.
// Shape letters: M rows, D inputs, H hidden width, F outputs.
#pragma once

#include <torch/torch.h>

namespace beit {

/// Whether tiles pay: weights that fit into a core's cache, and a processor with oneDNN's small products.
bool suits_tiles(const torch::Tensor& weight1_HD, const torch::Tensor& weight2_FH);

/// What gelu_mlp() gives (core/linear.h), for weights that suit and float32 on the CPU: [M, D] to [M, F], with
/// gradients. Between layers nothing is kept but what goes into the GELU.
torch::Tensor tiled_mlp(const torch::Tensor& x_MD, const torch::Tensor& weight1_HD, const torch::Tensor& bias1_H,
                        const torch::Tensor& weight2_FH, const torch::Tensor& bias2_F);

}  // namespace beit

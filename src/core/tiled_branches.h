// The residual branches of a narrow network's block, each in one pass: normalised rows, hidden layers and all that lies
// between two products stay in a core's cache, forward and backward.
// Shape letters: B images, T tokens, D width, H hidden width, h heads.
#pragma once

#include <torch/torch.h>

namespace beit {

/// Whether tiled_mlp_branch() is the best way for this input and hidden width, and tiled_attention_branch(): float32 on
/// the CPU without autocast, weights that suit tiles (core/tiled_layers.h), and images that occupy all threads.
bool suits_tiled_mlp(const torch::Tensor& x_BTD, int64_t hidden);
bool suits_tiled_attention(const torch::Tensor& x_BTD);

/// x + scale * fc2(gelu(fc1(norm(x)))), GELU exact: [B, T, D] to the same; scale: [D], or undefined for 1. Gradients
/// flow to all of these, and gradients of gradients are refused, as below. Kept for the backward pass are x and what
/// goes into the GELU.
torch::Tensor tiled_mlp_branch(const torch::Tensor& x_BTD, const torch::nn::LayerNorm& norm,
                               const torch::nn::Linear& fc1_HD, const torch::nn::Linear& fc2_DH,
                               const torch::Tensor& scale_D);

/// x + scale * proj(attend(norm(x) W^T + b)), attend() as in core/attention.h; W [3D, D] and b [3D] give query, key and
/// value; bias: [h, T, T] or undefined. Kept are x, query, key, value, attend's result and a number a query and head.
torch::Tensor tiled_attention_branch(const torch::Tensor& x_BTD, const torch::nn::LayerNorm& norm,
                                     const torch::Tensor& qkv_weight, const torch::Tensor& qkv_bias,
                                     const torch::nn::Linear& proj_DD, const torch::Tensor& scale_D, int64_t heads,
                                     const torch::Tensor& bias_hTT);

}  // namespace beit

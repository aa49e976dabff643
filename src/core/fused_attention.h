// Attention on the CPU in float32 without scores of more than a few queries in memory at a time, forward or backward.
// Shape letters: B images, Q queries, T tokens, D width, H heads.
#pragma once

#include <torch/torch.h>

namespace beit {

/// What attend() of core/attention.h computes, in float32; query, key and value may have fewer bits, as the result and
/// their gradients then have.
/// qkv: query, key and value, each of width D, side by side in the last dimension of one to three tensors: [B, T, 3D];
/// [B, Q, D] and [B, T, 2D]; or three. They may be views whose numbers of the last dimension lie next to one another.
/// Each one's gradient is one tensor of its shape. Gradients also flow to the bias [H, T, T], which may be undefined.
/// tokens [B, Q] may be undefined where Q is T. Returns [B, Q, D].
/// Beside inputs and result, a number for each head of each query is kept for the backward pass, which is repeatable to
/// the bit for the same number of threads. A gradient of the gradient is refused.
torch::Tensor fused_attention(torch::TensorList qkv, int64_t heads, const torch::Tensor& bias_HTT,
                              const torch::Tensor& tokens_BQ);

/// Whether fused_attention() is the best way for a query of this type, on this device, with this bias: always for
/// float32 on the CPU, and there for fewer bits with a bias whose gradient is wanted.
bool fuses_attention(const torch::Tensor& q_BQD, const torch::Tensor& bias_HTT);

/// Query, key and value of `qkv`, as views.
std::vector<torch::Tensor> split_qkv(torch::TensorList qkv);

}  // namespace beit

// Multi-head self-attention with biases on query and value only (paper, section 3.1).
// Shape letters: B images, Q queries, T tokens, D width, H heads, d width of a head, R rows of a bias table.
#pragma once

#include <torch/torch.h>

#include <optional>

#include "core/rel_pos.h"
#include "core/vit_options.h"

namespace beit {

/// softmax(q k^T / sqrt(d) + bias) v, heads side by side in the last dimension (D = H d).
/// qkv: q [B, Q, D], k and v [B, T, D]; or side by side in the last dimension of one tensor [B, T, 3D], or of two,
/// [B, Q, D] and [B, T, 2D]: the gradient of each tensor is written in one piece. Views with contiguous last dimension
/// serve as they are. bias: [H, T, T] or undefined. tokens: int64 [B, Q], which of the T tokens each query is (its row
/// of the bias); undefined: Q is T, all in order. Gradients flow to q, k, v and bias. Returns [B, Q, D].
torch::Tensor attend(torch::TensorList qkv, int64_t heads, const torch::Tensor& bias_HTT = {},
                     const torch::Tensor& tokens_BQ = {});

/// softmax(q k^T / sqrt(d) + bias) itself, by which attend() multiplies v: what people look at. q [B, Q, D], k [B, T,
/// D]; bias: [H, Q, T] or undefined. In at least float32, without gradient. Returns [B, H, Q, T]; the last dimension
/// sums to 1.
torch::Tensor attention_weights(const torch::Tensor& q_BQD, const torch::Tensor& k_BTD, int64_t heads,
                                const torch::Tensor& bias_HQT = {});

/// Names in files: qkv.weight, q_bias, v_bias, proj.*, and with RelPos::kBlock relative_position_bias_table.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const ViTOptions& options);

  /// `bias_HTT` is the shared bias or undefined; a block's own table takes its place, resized where the tokens are
  /// those of another grid. With `tokens_BQ` (int64) only these tokens ask, of all: the result is [B, Q, D]. Where
  /// `scale_D` is defined the result is times it.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                        const std::optional<OtherGrid>& other = {}, const torch::Tensor& tokens_BQ = {},
                        const torch::Tensor& scale_D = {});

  /// attention_weights() of these tokens: [B, H, T, T]; the bias is that of forward().
  torch::Tensor weights(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                        const std::optional<OtherGrid>& other = {}) const;

  /// x + scale * forward(norm(x)) in one pass, for what suits (core/tiled_branches.h); scale_D may be undefined.
  torch::Tensor tiled_branch(const torch::Tensor& x_BTD, const torch::nn::LayerNorm& norm, const torch::Tensor& scale_D,
                             const torch::Tensor& bias_HTT, const std::optional<OtherGrid>& other);

  torch::nn::Linear proj = nullptr;

 private:
  torch::Tensor bias(const torch::Tensor& shared_HTT, const std::optional<OtherGrid>& other) const;
  torch::Tensor qkv_bias() const;

  int64_t heads_;
  torch::nn::Linear qkv_ = nullptr;
  torch::Tensor q_bias_, v_bias_, table_RH_, index_TT_;
};
TORCH_MODULE(Attention);

}  // namespace beit

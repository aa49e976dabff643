// Multi-head self-attention with biases on query and value only (paper, section 3.1).
// Shape letters: B images, T tokens, D width, H heads, d width of a head, R rows of a bias table.
#pragma once

#include <torch/torch.h>

#include <optional>

#include "core/rel_pos.h"
#include "core/vit_options.h"

namespace beit {

/// softmax(q k^T / sqrt(d) + bias) v.
/// q, k, v: [B, H, T, d]; bias: [H, T, T] or undefined. Gradients flow to all four. Returns [B, H, T, d].
torch::Tensor attend(const torch::Tensor& q_BHTd, const torch::Tensor& k_BHTd, const torch::Tensor& v_BHTd,
                     const torch::Tensor& bias_HTT);

/// Names in files: qkv.weight, q_bias, v_bias, proj.*, and with RelPos::kBlock relative_position_bias_table.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const ViTOptions& options);

  /// `bias_HTT` is the shared bias or undefined; a block's own table takes its place, resized where the tokens are
  /// those of another grid.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                        const std::optional<OtherGrid>& other = {}, const torch::Tensor& tokens_BQ = {});

  torch::nn::Linear proj = nullptr;

 private:
  int64_t heads_;
  torch::nn::Linear qkv_ = nullptr;
  torch::Tensor q_bias_, v_bias_, table_RH_, index_TT_;
};
TORCH_MODULE(Attention);

}  // namespace beit

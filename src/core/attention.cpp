#include "core/attention.h"

#include <cmath>

#include "base/error.h"
#include "core/linear.h"
#include "core/masked_tokens.h"

namespace beit {

torch::Tensor attend(const torch::Tensor& q_BHTd, const torch::Tensor& k_BHTd, const torch::Tensor& v_BHTd,
                     const torch::Tensor& bias_HTT) {
  if (!bias_HTT.defined()) return at::scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd);
  if (!bias_HTT.requires_grad() || !torch::GradMode::is_enabled()) {
    return at::scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, bias_HTT.detach().unsqueeze(0).to(q_BHTd.dtype()));
  }
  // LibTorch's fused kernels give no gradient for the bias, and its unfused one makes more passes over memory.
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHTd.size(-1)));
  const auto scores_BHTT = torch::matmul(q_BHTd * scale, k_BHTd.transpose(-2, -1));
  // Under autocast scores have fewer bits than the bias: their sum and its softmax have the bias's.
  const bool same_type = scores_BHTT.scalar_type() == bias_HTT.scalar_type();
  const auto weights_BHTT = torch::softmax(same_type ? scores_BHTT.add_(bias_HTT) : scores_BHTT + bias_HTT, -1);
  return torch::matmul(weights_BHTT.to(v_BHTd.dtype()), v_BHTd);
}

AttentionImpl::AttentionImpl(const ViTOptions& options) : heads_(options.heads) {
  const int64_t width = options.width;
  require(
      options.heads > 0 && width % options.heads == 0,
      "attention: expected a width that is a multiple of heads, got width {} and {} heads; change --width or --heads",
      width, options.heads);
  qkv_ = register_module("qkv", torch::nn::Linear(torch::nn::LinearOptions(width, 3 * width).bias(false)));
  q_bias_ = register_parameter("q_bias", torch::zeros({width}));
  v_bias_ = register_parameter("v_bias", torch::zeros({width}));
  proj = register_module("proj", torch::nn::Linear(width, width));
  if (options.relative_position == RelPos::kBlock) {
    table_RH_ = register_parameter("relative_position_bias_table",
                                   torch::zeros({bias_table_rows(options.grid), options.heads}));
    index_TT_ = register_buffer("relative_position_index", relative_position_index(options.grid));
  }
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                     const std::optional<OtherGrid>& other, const torch::Tensor& tokens_BQ) {
  const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1), width = x_BTD.size(2);
  const auto bias_3D = torch::cat({q_bias_, torch::zeros_like(q_bias_), v_bias_});
  const auto qkv = linear(x_BTD, qkv_->weight, bias_3D).view({images, tokens, 3, heads_, width / heads_});
  const auto parts = qkv.permute({2, 0, 3, 1, 4}).unbind(0);
  const auto own_HTT = table_RH_.defined() ? relative_position_bias(table_RH_, index_TT_, other) : bias_HTT;
  if (tokens_BQ.defined()) {
    const auto q_BHQd =
        take_tokens(qkv.select(2, 0).flatten(2), tokens_BQ).view({images, -1, heads_, width / heads_}).transpose(1, 2);
    auto scores = torch::matmul(q_BHQd / std::sqrt(width / heads_), parts[1].transpose(-2, -1));
    if (own_HTT.defined())
      scores = scores + own_HTT.transpose(0, 1)
                            .index_select(0, tokens_BQ.flatten())
                            .view({images, -1, heads_, tokens})
                            .transpose(1, 2);
    const auto y = torch::matmul(torch::softmax(scores, -1).to(parts[2].dtype()), parts[2]);
    return linear(y.transpose(1, 2).reshape({images, -1, width}), proj);
  }
  const auto y_BHTd = attend(parts[0], parts[1], parts[2], own_HTT);
  return linear(y_BHTd.transpose(1, 2).reshape({images, tokens, width}), proj);
}

}  // namespace beit

#include "core/attention.h"

#include <cmath>

#include "base/error.h"
#include "core/full_precision.h"
#include "core/fused_attention.h"
#include "core/linear.h"
#include "core/masked_tokens.h"
#include "core/tiled_branches.h"

namespace beit {
namespace {

/// Whether the memory-efficient kernel serves, which alone of LibTorch's fused ones gives a gradient for the bias.
bool is_memory_efficient(const torch::Tensor& q_BHQd) {
  const auto type = q_BHQd.scalar_type();
  return q_BHQd.is_cuda() && q_BHQd.size(-1) % 8 == 0 &&
         (type == torch::kFloat32 || type == torch::kBFloat16 || type == torch::kHalf);
}

/// [B, H, Q, d], with a bias for each image where tokens are given.
torch::Tensor memory_efficient_attention(const torch::Tensor& q_BHQd, const torch::Tensor& k_BHTd,
                                         const torch::Tensor& v_BHTd, const torch::Tensor& bias_HTT,
                                         const torch::Tensor& tokens_BQ) {
  constexpr int64_t kAligned = 8;  // where rows of the bias begin
  const int64_t heads = q_BHQd.size(1), queries = q_BHQd.size(2), tokens = k_BHTd.size(2);
  const auto padded_HTP =
      at::constant_pad_nd(bias_HTT.to(q_BHQd.scalar_type()), {0, (kAligned - tokens % kAligned) % kAligned});
  const auto bias_BHQP =
      tokens_BQ.defined()
          ? torch::embedding(padded_HTP.transpose(0, 1).flatten(1), tokens_BQ).unflatten(2, {heads, -1}).transpose(1, 2)
          : padded_HTP.unsqueeze(0);
  const auto bias_BHQT = bias_BHQP.narrow(-1, 0, tokens).expand({q_BHQd.size(0), heads, queries, tokens});
  return std::get<0>(at::_scaled_dot_product_efficient_attention(q_BHQd, k_BHTd, v_BHTd, bias_BHQT,
                                                                 /*compute_log_sumexp=*/true));
}

/// LibTorch's own operations, for any device and type.
torch::Tensor composed_attention(const std::vector<torch::Tensor>& qkv, int64_t heads, const torch::Tensor& bias_HTT,
                                 const torch::Tensor& tokens_BQ) {
  const auto by_head = [&](const torch::Tensor& x_BTD) { return x_BTD.unflatten(2, {heads, -1}).transpose(1, 2); };
  const auto joined = [](const torch::Tensor& y_BHQd) { return y_BHQd.transpose(1, 2).flatten(2); };
  const auto q_BHQd = by_head(qkv[0]), k_BHTd = by_head(qkv[1]), v_BHTd = by_head(qkv[2]);
  if (!bias_HTT.defined()) return joined(at::scaled_dot_product_attention(q_BHQd, k_BHTd, v_BHTd));
  const bool fixed = !bias_HTT.requires_grad() || !torch::GradMode::is_enabled();
  if (!fixed && is_memory_efficient(q_BHQd))
    return joined(memory_efficient_attention(q_BHQd, k_BHTd, v_BHTd, bias_HTT, tokens_BQ));
  auto bias_BHQT = (fixed ? bias_HTT.detach() : bias_HTT).unsqueeze(0);
  if (tokens_BQ.defined())
    bias_BHQT =
        torch::embedding(bias_HTT.transpose(0, 1).flatten(1), tokens_BQ).unflatten(2, {heads, -1}).transpose(1, 2);
  if (fixed) return joined(at::scaled_dot_product_attention(q_BHQd, k_BHTd, v_BHTd, bias_BHQT.to(q_BHQd.dtype())));
  // LibTorch's other fused kernels give no gradient for the bias, its unfused one makes more passes over memory.
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHQd.size(-1)));
  const auto scores_BHQT = torch::matmul(q_BHQd * scale, k_BHTd.transpose(-2, -1));
  // Under autocast scores have fewer bits than the bias: their sum and its softmax have the bias's.
  const bool same_type = scores_BHQT.scalar_type() == bias_BHQT.scalar_type();
  const auto weights_BHQT = torch::softmax(same_type ? scores_BHQT.add_(bias_BHQT) : scores_BHQT + bias_BHQT, -1);
  return joined(torch::matmul(weights_BHQT.to(v_BHTd.dtype()), v_BHTd));
}

/// Kernels read memory by these sizes; where it costs no waiting for a device, tokens are read too.
void require_fit(const std::vector<torch::Tensor>& qkv, int64_t heads, const torch::Tensor& bias_HTT,
                 const torch::Tensor& tokens_BQ) {
  const auto &q_BQD = qkv[0], &k_BTD = qkv[1], &v_BTD = qkv[2];
  require(heads > 0 && q_BQD.dim() == 3 && k_BTD.dim() == 3 && q_BQD.size(0) == k_BTD.size(0) &&
              q_BQD.size(2) == k_BTD.size(2) && k_BTD.sizes() == v_BTD.sizes() && q_BQD.size(2) % heads == 0,
          "attention: expected q [B, Q, D], k and v [B, T, D] with D a multiple of {} heads, got [{}], [{}] and [{}]",
          heads, fmt::join(q_BQD.sizes(), ", "), fmt::join(k_BTD.sizes(), ", "), fmt::join(v_BTD.sizes(), ", "));
  const int64_t images = q_BQD.size(0), queries = q_BQD.size(1), tokens = k_BTD.size(1);
  require(!bias_HTT.defined() || bias_HTT.sizes() == torch::IntArrayRef({heads, tokens, tokens}),
          "attention: expected a bias [{}, {}, {}], got [{}]", heads, tokens, tokens,
          fmt::join(bias_HTT.defined() ? bias_HTT.sizes() : torch::IntArrayRef(), ", "));
  if (!tokens_BQ.defined()) {
    require(queries == tokens, "attention: expected tokens that say which of {} each of {} queries is, got none",
            tokens, queries);
    return;
  }
  require(tokens_BQ.sizes() == torch::IntArrayRef({images, queries}), "attention: expected tokens [{}, {}], got [{}]",
          images, queries, fmt::join(tokens_BQ.sizes(), ", "));
  if (!tokens_BQ.is_cpu() || tokens_BQ.numel() == 0) return;
  const auto [least, most] = tokens_BQ.aminmax();
  require(least.item<int64_t>() >= 0 && most.item<int64_t>() < tokens,
          "attention: expected tokens from 0 to {}, got {} to {}", tokens - 1, least.item<int64_t>(),
          most.item<int64_t>());
}

}  // namespace

torch::Tensor attend(torch::TensorList qkv, int64_t heads, const torch::Tensor& bias_HTT,
                     const torch::Tensor& tokens_BQ) {
  const auto parts = split_qkv(qkv);
  require_fit(parts, heads, bias_HTT, tokens_BQ);
  if (fuses_attention(parts[0], bias_HTT)) return fused_attention(qkv, heads, bias_HTT, tokens_BQ);
  return composed_attention(parts, heads, bias_HTT, tokens_BQ);
}

torch::Tensor attention_weights(const torch::Tensor& q_BQD, const torch::Tensor& k_BTD, int64_t heads,
                                const torch::Tensor& bias_HQT) {
  require(heads > 0 && q_BQD.dim() == 3 && k_BTD.dim() == 3 && q_BQD.size(0) == k_BTD.size(0) &&
              q_BQD.size(2) == k_BTD.size(2) && q_BQD.size(2) % heads == 0,
          "attention: expected q [B, Q, D] and k [B, T, D] with D a multiple of {} heads, got [{}] and [{}]", heads,
          fmt::join(q_BQD.sizes(), ", "), fmt::join(k_BTD.sizes(), ", "));
  const torch::NoGradGuard no_grad;
  const FullPrecision full_precision;
  const auto by_head = [&](const torch::Tensor& x_BTD) {
    return at_least_float32(x_BTD).unflatten(2, {heads, -1}).transpose(1, 2);
  };
  const auto q_BHQd = by_head(q_BQD);
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHQd.size(-1)));
  auto scores_BHQT = torch::matmul(q_BHQd * scale, by_head(k_BTD).transpose(-2, -1));
  if (bias_HQT.defined()) scores_BHQT = scores_BHQT + at_least_float32(bias_HQT);
  return torch::softmax(scores_BHQT, -1);
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

torch::Tensor AttentionImpl::bias(const torch::Tensor& shared_HTT, const std::optional<OtherGrid>& other) const {
  return table_RH_.defined() ? relative_position_bias(table_RH_, index_TT_, other) : shared_HTT;
}

torch::Tensor AttentionImpl::qkv_bias() const { return torch::cat({q_bias_, torch::zeros_like(q_bias_), v_bias_}); }

torch::Tensor AttentionImpl::forward(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                     const std::optional<OtherGrid>& other, const torch::Tensor& tokens_BQ,
                                     const torch::Tensor& scale_D) {
  const auto own_HTT = bias(bias_HTT, other);
  if (!tokens_BQ.defined()) {
    return linear(attend({linear(x_BTD, qkv_->weight, qkv_bias())}, heads_, own_HTT), proj, scale_D);
  }
  const int64_t width = x_BTD.size(2);
  const auto weights = qkv_->weight.split_with_sizes({width, 2 * width});
  const auto q_BQD = linear(take_tokens(x_BTD, tokens_BQ), weights[0], q_bias_);
  const auto kv_BT2D = linear(x_BTD, weights[1], qkv_bias().slice(0, width));
  return linear(attend({q_BQD, kv_BT2D}, heads_, own_HTT, tokens_BQ), proj, scale_D);
}

torch::Tensor AttentionImpl::weights(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                     const std::optional<OtherGrid>& other) const {
  const torch::NoGradGuard no_grad;
  const auto qkv = linear(x_BTD, qkv_->weight, qkv_bias()).chunk(3, 2);
  return attention_weights(qkv[0], qkv[1], heads_, bias(bias_HTT, other));
}

torch::Tensor AttentionImpl::tiled_branch(const torch::Tensor& x_BTD, const torch::nn::LayerNorm& norm,
                                          const torch::Tensor& scale_D, const torch::Tensor& bias_HTT,
                                          const std::optional<OtherGrid>& other) {
  return tiled_attention_branch(x_BTD, norm, qkv_->weight, qkv_bias(), proj, scale_D, heads_, bias(bias_HTT, other));
}

}  // namespace beit

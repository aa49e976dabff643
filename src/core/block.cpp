#include "core/block.h"

#include <cmath>

#include "base/error.h"
#include "core/linear.h"
#include "core/masked_tokens.h"
#include "core/recompute.h"

namespace beit {

torch::nn::LayerNorm layer_norm(int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-6));
}

std::vector<double> drop_path_rates(double last, int64_t depth) {
  std::vector<double> rates(static_cast<size_t>(depth), 0.0);
  for (int64_t i = 1; i < depth; ++i) {
    rates[static_cast<size_t>(i)] = last * static_cast<double>(i) / static_cast<double>(depth - 1);
  }
  return rates;
}

MlpImpl::MlpImpl(int64_t width, int64_t hidden)
    : fc1(register_module("fc1", torch::nn::Linear(width, hidden))),
      fc2(register_module("fc2", torch::nn::Linear(hidden, width))) {}

torch::Tensor MlpImpl::forward(const torch::Tensor& x_BTD) { return gelu_mlp(x_BTD, fc1, fc2); }

BlockImpl::BlockImpl(const ViTOptions& options, double drop_path) : drop_path_(drop_path) {
  require(drop_path >= 0.0 && drop_path < 1.0, "block: expected drop_path in [0, 1), got {}; change --drop-path",
          drop_path);
  const int64_t width = options.width;
  norm1_ = register_module("norm1", layer_norm(width));
  attn_ = register_module("attn", Attention(options));
  norm2_ = register_module("norm2", layer_norm(width));
  mlp_ = register_module("mlp", Mlp(width, options.hidden()));
  if (options.layer_scale > 0.0) {
    gamma_1_D_ = register_parameter("gamma_1", torch::full({width}, options.layer_scale));
    gamma_2_D_ = register_parameter("gamma_2", torch::full({width}, options.layer_scale));
  }
}

torch::Tensor BlockImpl::forward(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                 const std::optional<OtherGrid>& other, const StepPart& part,
                                 const torch::Tensor& tokens_BQ) {
  const Depth attn = draw_depth(x_BTD, part), mlp = draw_depth(x_BTD, part);
  if (!recompute_ || !is_training() || !torch::GradMode::is_enabled()) {
    return branches(x_BTD, bias_HTT, other, tokens_BQ, attn, mlp);
  }
  const auto body = [this, alive = shared_from_this(), other, tokens_BQ, attn,
                     mlp](const std::vector<torch::Tensor>& inputs) {
    return branches(inputs[0], inputs[1], other, tokens_BQ, attn, mlp);
  };
  return recompute(body, {x_BTD, bias_HTT}, parameters());
}

torch::Tensor BlockImpl::Depth::of(const torch::Tensor& x) const {
  return kept_S.defined() && x.defined() ? x.index_select(0, kept_S) : x;
}

BlockImpl::Depth BlockImpl::draw_depth(const torch::Tensor& x_BTD, const StepPart& part) const {
  if (drop_path_ == 0.0 || !is_training()) return {};
  auto kept_B = uniform_by_sample(x_BTD.size(0), part, x_BTD.device()).ge(drop_path_);
  const auto factors = [&](const torch::Tensor& kept) {
    return (kept.to(x_BTD.dtype()) / (1.0 - drop_path_)).view({-1, 1, 1});
  };
  if (!x_BTD.is_cpu()) return {.kept_S = {}, .factor_S11 = factors(kept_B)};  // to count them would be to wait
  auto kept_S = kept_B.nonzero().squeeze(1);
  // Of none, one by zero: parameters without a gradient would stand still.
  if (kept_S.size(0) == 0 && kept_B.size(0) > 0) kept_S = torch::zeros({1}, torch::kInt64);
  const auto factor_S11 = factors(kept_B.index_select(0, kept_S));
  if (kept_S.size(0) == kept_B.size(0)) return {.kept_S = {}, .factor_S11 = factor_S11};
  return {.kept_S = kept_S, .factor_S11 = factor_S11};
}

torch::Tensor BlockImpl::branches(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                  const std::optional<OtherGrid>& other, const torch::Tensor& tokens_BQ,
                                  const Depth& attn, const Depth& mlp) {
  const auto add = [](const torch::Tensor& to_BTD, torch::Tensor branch_STD, const Depth& depth,
                      const torch::Tensor& gamma_D) {
    if (depth.factor_S11.defined()) branch_STD = branch_STD * depth.factor_S11;
    if (depth.kept_S.defined()) {
      return to_BTD.index_add(0, depth.kept_S, gamma_D.defined() ? branch_STD * gamma_D : branch_STD);
    }
    return gamma_D.defined() ? torch::addcmul(to_BTD, branch_STD, gamma_D) : to_BTD + branch_STD;
  };
  const auto asked_BQD = tokens_BQ.defined() ? take_tokens(x_BTD, tokens_BQ) : x_BTD;
  const auto y_BQD =
      add(asked_BQD, attn_->forward(norm1_->forward(attn.of(x_BTD)), bias_HTT, other, attn.of(tokens_BQ)), attn,
          gamma_1_D_);
  return add(y_BQD, mlp_->forward(norm2_->forward(mlp.of(y_BQD))), mlp, gamma_2_D_);
}

void BlockImpl::rescale(int64_t number) {
  torch::NoGradGuard no_grad;
  const double factor = std::sqrt(2.0 * static_cast<double>(number));
  attn_->proj->weight.div_(factor);
  mlp_->fc2->weight.div_(factor);
}

}  // namespace beit

#include "core/block.h"

#include <cmath>

#include "base/error.h"
#include "core/init.h"
#include "core/linear.h"
#include "core/masked_tokens.h"
#include "core/recompute.h"
#include "core/tiled_branches.h"

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

torch::Tensor MlpImpl::scaled(const torch::Tensor& x_BTD, const torch::Tensor& scale_D) {
  return linear(torch::gelu(linear(x_BTD, fc1)), fc2, scale_D);
}

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

torch::Tensor BlockImpl::attention(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                   const std::optional<OtherGrid>& other) {
  const torch::NoGradGuard no_grad;
  return attn_->weights(norm1_->forward(x_BTD), bias_HTT, other);
}

torch::Tensor BlockImpl::Depth::of(const torch::Tensor& x) const {
  return kept_S.defined() && x.defined() ? x.index_select(0, kept_S) : x;
}

BlockImpl::Depth BlockImpl::draw_depth(const torch::Tensor& x_BTD, const StepPart& part) const {
  if (drop_path_ == 0.0 || !is_training()) return {};
  auto kept_B = uniform_by_sample(x_BTD.size(0), part, x_BTD.device()).ge(drop_path_);
  const double factor = 1.0 / (1.0 - drop_path_);
  // To count them on another device would be to wait for it.
  if (!x_BTD.is_cpu()) return {.factor = factor, .factor_B11 = kept_B.to(x_BTD.dtype()).view({-1, 1, 1})};
  const auto kept_S = kept_B.nonzero().squeeze(1);
  if (kept_S.size(0) == kept_B.size(0)) return {.factor = factor};
  // Of none, one by zero: parameters without a gradient would stand still.
  if (kept_S.size(0) == 0) return {.kept_S = torch::zeros({1}, torch::kInt64), .factor = 0};
  return {.kept_S = kept_S, .factor = factor};
}

torch::Tensor BlockImpl::Depth::add(const torch::Tensor& x_BTD, torch::Tensor branch_STD,
                                    const torch::Tensor& gamma_D) const {
  if (factor_B11.defined()) branch_STD = branch_STD * factor_B11;
  if (kept_S.defined()) {
    if (gamma_D.defined()) branch_STD = branch_STD * gamma_D;
    return x_BTD.index_add(0, kept_S, branch_STD.to(x_BTD.scalar_type()), factor);
  }
  return gamma_D.defined() ? torch::addcmul(x_BTD, branch_STD, gamma_D, factor) : x_BTD.add(branch_STD, factor);
}

template <class Update>
torch::Tensor BlockImpl::Depth::replace(const torch::Tensor& x_BTD, const torch::Tensor& gamma_D,
                                        const Update& update) const {
  auto scale_D = gamma_D;
  if (factor != 1) scale_D = gamma_D.defined() ? gamma_D * factor : torch::full({x_BTD.size(2)}, factor);
  return kept_S.defined() ? x_BTD.index_copy(0, kept_S, update(of(x_BTD), scale_D)) : update(x_BTD, scale_D);
}

torch::Tensor BlockImpl::branches(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                  const std::optional<OtherGrid>& other, const torch::Tensor& tokens_BQ,
                                  const Depth& attn, const Depth& mlp) {
  // On a GPU layer scale is part of the layer before it: a pass over weights costs less than those over activations.
  const bool inside = !x_BTD.is_cpu() && gamma_1_D_.defined();
  const auto outside = [&](const torch::Tensor& gamma_D) { return inside ? torch::Tensor() : gamma_D; };
  torch::Tensor y_BQD;
  if (!tokens_BQ.defined() && suits_tiled_attention(x_BTD)) {
    y_BQD = attn.replace(x_BTD, gamma_1_D_, [&](const torch::Tensor& x_STD, const torch::Tensor& scale_D) {
      return attn_->tiled_branch(x_STD, norm1_, scale_D, bias_HTT, other);
    });
  } else {
    const auto branch_SQD = attn_->forward(norm1_->forward(attn.of(x_BTD)), bias_HTT, other, attn.of(tokens_BQ),
                                           inside ? gamma_1_D_ : torch::Tensor());
    y_BQD = attn.add(tokens_BQ.defined() ? take_tokens(x_BTD, tokens_BQ) : x_BTD, branch_SQD, outside(gamma_1_D_));
  }
  if (suits_tiled_mlp(y_BQD, mlp_->fc1->weight.size(0))) {
    return mlp.replace(y_BQD, gamma_2_D_, [&](const torch::Tensor& y_SQD, const torch::Tensor& scale_D) {
      return tiled_mlp_branch(y_SQD, norm2_, mlp_->fc1, mlp_->fc2, scale_D);
    });
  }
  const auto normed_SQD = norm2_->forward(mlp.of(y_BQD));
  return mlp.add(y_BQD, inside ? mlp_->scaled(normed_SQD, gamma_2_D_) : mlp_->forward(normed_SQD), outside(gamma_2_D_));
}

void BlockImpl::rescale(int64_t number) {
  if (!gives_initial_values()) return;
  torch::NoGradGuard no_grad;
  const double factor = std::sqrt(2.0 * static_cast<double>(number));
  attn_->proj->weight.div_(factor);
  mlp_->fc2->weight.div_(factor);
}

}  // namespace beit

#include "core/block.h"

#include <cmath>

#include "base/error.h"
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

torch::Tensor MlpImpl::forward(const torch::Tensor& x_BTD) { return fc2->forward(torch::gelu(fc1->forward(x_BTD))); }

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
                                 const std::optional<OtherGrid>& other, const StepPart& part) {
  const auto attn_factor_B11 = draw_factor(x_BTD, part), mlp_factor_B11 = draw_factor(x_BTD, part);
  if (!recompute_ || !is_training() || !torch::GradMode::is_enabled()) {
    return branches(x_BTD, bias_HTT, other, attn_factor_B11, mlp_factor_B11);
  }
  const auto body = [this, alive = shared_from_this(), other, attn_factor_B11,
                     mlp_factor_B11](const std::vector<torch::Tensor>& inputs) {
    return branches(inputs[0], inputs[1], other, attn_factor_B11, mlp_factor_B11);
  };
  return recompute(body, {x_BTD, bias_HTT}, parameters());
}

torch::Tensor BlockImpl::draw_factor(const torch::Tensor& x_BTD, const StepPart& part) const {
  if (drop_path_ == 0.0 || !is_training()) return {};
  const auto kept_B = uniform_by_sample(x_BTD.size(0), part, x_BTD.device()).ge(drop_path_);
  return (kept_B.to(x_BTD.dtype()) / (1.0 - drop_path_)).view({-1, 1, 1});
}

torch::Tensor BlockImpl::branches(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                                  const std::optional<OtherGrid>& other, const torch::Tensor& attn_factor_B11,
                                  const torch::Tensor& mlp_factor_B11) {
  const auto add = [](const torch::Tensor& to_BTD, const torch::Tensor& branch_BTD, const torch::Tensor& factor_B11,
                      const torch::Tensor& gamma_D) {
    const auto scaled_BTD = factor_B11.defined() ? branch_BTD * factor_B11 : branch_BTD;
    return gamma_D.defined() ? torch::addcmul(to_BTD, scaled_BTD, gamma_D) : to_BTD + scaled_BTD;
  };
  const auto y_BTD = add(x_BTD, attn_->forward(norm1_->forward(x_BTD), bias_HTT, other), attn_factor_B11, gamma_1_D_);
  return add(y_BTD, mlp_->forward(norm2_->forward(y_BTD)), mlp_factor_B11, gamma_2_D_);
}

void BlockImpl::rescale(int64_t number) {
  torch::NoGradGuard no_grad;
  const double factor = std::sqrt(2.0 * static_cast<double>(number));
  attn_->proj->weight.div_(factor);
  mlp_->fc2->weight.div_(factor);
}

}  // namespace beit

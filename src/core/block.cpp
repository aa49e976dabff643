#include "core/block.h"

#include <cmath>

#include "base/error.h"

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
                                 const std::optional<OtherGrid>& other) {
  const auto y_BTD = add_branch(x_BTD, attn_->forward(norm1_->forward(x_BTD), bias_HTT, other), gamma_1_D_);
  return add_branch(y_BTD, mlp_->forward(norm2_->forward(y_BTD)), gamma_2_D_);
}

torch::Tensor BlockImpl::add_branch(const torch::Tensor& x_BTD, torch::Tensor branch_BTD,
                                    const torch::Tensor& gamma_D) {
  if (drop_path_ > 0.0 && is_training()) {
    const auto keep_B11 = torch::rand({x_BTD.size(0), 1, 1}, x_BTD.options()).ge(drop_path_).to(x_BTD.dtype());
    branch_BTD = branch_BTD * (keep_B11 / (1.0 - drop_path_));
  }
  return gamma_D.defined() ? torch::addcmul(x_BTD, branch_BTD, gamma_D) : x_BTD + branch_BTD;
}

void BlockImpl::rescale(int64_t number) {
  torch::NoGradGuard no_grad;
  const double factor = std::sqrt(2.0 * static_cast<double>(number));
  attn_->proj->weight.div_(factor);
  mlp_->fc2->weight.div_(factor);
}

}  // namespace beit

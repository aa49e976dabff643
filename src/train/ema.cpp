#include "train/ema.h"

#include "base/error.h"

namespace beit {

Ema::Ema(const torch::nn::Module& model, double decay) : decay_(decay) {
  require(decay > 0.0 && decay < 1.0, "ema: expected a decay in (0, 1), got {}; change --ema-decay", decay);
  for (const auto& item : model.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    names_.push_back(item.key());
    weights_.push_back(item.value());
    averages_.push_back(item.value().detach().clone());
  }
  for (const auto& item : model.named_buffers()) {
    if (!item.key().ends_with("running_mean") && !item.key().ends_with("running_var")) continue;
    names_.push_back(item.key());
    weights_.push_back(item.value());
    averages_.push_back(item.value().clone());
  }
}

void Ema::update() {
  const torch::NoGradGuard no_grad;
  at::_foreach_lerp_(averages_, weights_, 1.0 - decay_);
}

void Ema::exchange() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const auto weight = weights_[i].clone();
    weights_[i].copy_(averages_[i]);
    averages_[i].copy_(weight);
  }
}

TensorMap Ema::state() const {
  TensorMap state;
  for (size_t i = 0; i < names_.size(); ++i) state.emplace(names_[i], averages_[i]);
  return state;
}

void Ema::set_state(const TensorMap& state) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < names_.size(); ++i) {
    const auto found = state.find(names_[i]);
    require(found != state.end() && found->second.sizes() == averages_[i].sizes(),
            "ema: expected the average of '{}' [{}], got {}", names_[i], fmt::join(averages_[i].sizes(), ", "),
            found == state.end() ? "none" : fmt::format("[{}]", fmt::join(found->second.sizes(), ", ")));
    averages_[i].copy_(found->second);
  }
}

}  // namespace beit

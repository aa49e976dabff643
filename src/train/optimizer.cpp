#include "train/optimizer.h"

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace beit {
namespace {

std::string_view without_tower(std::string_view name) {
  for (const std::string_view tower : {"encoder.", "decoder."}) {
    if (name.starts_with(tower)) return name.substr(tower.size());
  }
  return name;
}

}  // namespace

bool decays(const std::string& name, const torch::Tensor& parameter) {
  const auto own = without_tower(name);
  return parameter.dim() > 1 && !own.ends_with(".bias") && own != "pos_embed" && own != "cls_token";
}

int64_t layer_of(const std::string& name, int64_t depth) {
  if (name == "cls_token" || name == "mask_token" || name == "pos_embed" || name.starts_with("patch_embed.")) return 0;
  constexpr std::string_view kBlocks = "blocks.";
  if (!name.starts_with(kBlocks)) return depth + 1;
  int64_t block = 0;
  std::from_chars(name.data() + kBlocks.size(), name.data() + name.size(), block);
  return block + 1;
}

AdamW::AdamW(const torch::nn::Module& model, const AdamWOptions& options) : options_(options) {
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor& value = item.value();
    if (!value.requires_grad()) continue;
    const int64_t layers_above =
        options.layer_decay == 1.0 ? 0 : options.depth + 1 - layer_of(item.key(), options.depth);
    const double lr_scale = std::pow(options.layer_decay, static_cast<double>(layers_above));
    const double weight_decay = decays(item.key(), value) ? options.weight_decay : 0.0;
    auto group = std::ranges::find_if(
        groups_, [&](const Group& g) { return g.lr_scale == lr_scale && g.weight_decay == weight_decay; });
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{lr_scale, weight_decay, {}});
    group->parameters.push_back({item.key(), value, torch::zeros_like(value), torch::zeros_like(value)});
  }
  require(!groups_.empty(), "optimizer: expected a model with parameters to train, got none");
  step_ = torch::zeros({}, groups_.front().parameters.front().value.options().dtype(torch::kFloat32));
}

void AdamW::step(double lr) {
  torch::NoGradGuard no_grad;
  step_.add_(1);
  for (const Group& group : groups_) {
    std::vector<torch::Tensor> values, grads, exp_avgs, exp_avg_sqs;
    for (const Parameter& parameter : group.parameters) {
      if (!parameter.value.grad().defined()) continue;
      values.push_back(parameter.value);
      grads.push_back(parameter.value.grad());
      exp_avgs.push_back(parameter.exp_avg);
      exp_avg_sqs.push_back(parameter.exp_avg_sq);
    }
    if (values.empty()) continue;
    const std::vector<torch::Tensor> steps(values.size(), step_);
    at::_fused_adamw_(values, grads, exp_avgs, exp_avg_sqs, /*max_exp_avg_sqs=*/{}, steps, lr * group.lr_scale,
                      options_.beta1, options_.beta2, group.weight_decay, options_.eps, /*amsgrad=*/false,
                      /*maximize=*/false);
  }
}

void AdamW::zero_grad() {
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) parameter.value.mutable_grad().reset();
  }
}

double AdamW::grad_norm() const {
  std::vector<torch::Tensor> grads;
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.value.grad().defined()) grads.push_back(parameter.value.grad());
    }
  }
  return grads.empty() ? 0.0 : torch::stack(at::_foreach_norm(grads)).norm().item<double>();
}

void AdamW::scale_grads(double factor) {
  torch::NoGradGuard no_grad;
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.value.grad().defined()) parameter.value.grad().mul_(factor);
    }
  }
}

std::map<std::string, torch::Tensor> AdamW::state() const {
  std::map<std::string, torch::Tensor> state{{"step", step_}};
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      state.emplace("exp_avg." + parameter.name, parameter.exp_avg);
      state.emplace("exp_avg_sq." + parameter.name, parameter.exp_avg_sq);
    }
  }
  return state;
}

void AdamW::set_state(const std::map<std::string, torch::Tensor>& state) {
  torch::NoGradGuard no_grad;
  for (auto& [name, mine] : this->state()) {
    const auto found = state.find(name);
    require(found != state.end() && found->second.sizes() == mine.sizes(),
            "optimizer: expected the state '{}' [{}], got {}; the checkpoint is another model's: use --resume never or "
            "another --output",
            name, fmt::join(mine.sizes(), ", "),
            found == state.end() ? "none" : fmt::format("[{}]", fmt::join(found->second.sizes(), ", ")));
    mine.copy_(found->second);
  }
}

}  // namespace beit

#include "train/optimizer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/parallel.h"
#include "core/cpu_float32.h"
#include "core/kernels.h"

namespace beit {
namespace {

std::string_view without(std::initializer_list<std::string_view> prefixes, std::string_view name) {
  for (const std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

constexpr int64_t kChunk = int64_t{1} << 15;  // elements, the least that a thread takes

/// Whether `core/kernels.h` serves.
bool in_vectors(const torch::Tensor& x) { return is_cpu_float32(x) && x.is_contiguous(); }

template <class Visit>
void for_each_chunk(int64_t count, Visit visit) {
  for (int64_t first = 0; first < count; first += kChunk) visit(first, std::min(kChunk, count - first));
}

/// A chunk of one parameter.
struct Move {
  AdamWFactors factors;
  const float* grad;
  float *value, *exp_avg, *exp_avg_sq;
  int64_t count;
};

}  // namespace

bool decays(const std::string& name, const torch::Tensor& parameter) {
  const auto own = without({"encoder.", "decoder."}, name);
  return parameter.dim() > 1 && !own.ends_with(".bias") && own != "pos_embed" && own != "cls_token";
}

int64_t layer_of(const std::string& full_name, int64_t depth) {
  const auto name = without({"backbone."}, full_name);
  if (name == "cls_token" || name == "mask_token" || name == "pos_embed" || name.starts_with("patch_embed.")) return 0;
  constexpr std::string_view kBlocks = "blocks.";
  if (!name.starts_with(kBlocks)) return depth + 1;
  int64_t block = 0;
  std::from_chars(name.data() + kBlocks.size(), name.data() + name.size(), block);
  return block + 1;
}

AdamW::AdamW(const torch::nn::Module& model, const AdamWOptions& options, Distributed* shards)
    : options_(options), shards_(shards != nullptr && shards->ranks() > 1 ? shards : nullptr) {
  std::vector<int64_t> held(shards_ == nullptr ? 1 : static_cast<size_t>(shards_->ranks()), 0);  // elements by rank
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor& value = item.value();
    if (!value.requires_grad()) continue;
    const int64_t layers_above =
        options.layers.rate == 1.0 ? 0 : options.layers.depth + 1 - layer_of(item.key(), options.layers.depth);
    const double lr_scale = std::pow(options.layers.rate, static_cast<double>(layers_above));
    const double weight_decay = decays(item.key(), value) ? options.weight_decay : 0.0;
    auto group = std::ranges::find_if(
        groups_, [&](const Group& g) { return g.lr_scale == lr_scale && g.weight_decay == weight_decay; });
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{lr_scale, weight_decay, {}});
    const auto least = std::ranges::min_element(held);
    *least += value.numel();
    Parameter parameter{.name = item.key(), .value = value, .owner = least - held.begin()};
    if (owns(parameter)) {
      parameter.exp_avg = torch::zeros_like(value);
      parameter.exp_avg_sq = torch::zeros_like(value);
    }
    group->parameters.push_back(std::move(parameter));
  }
  require(!groups_.empty(), "optimizer: expected a model with parameters to train, got none");
  step_ = torch::zeros({}, groups_.front().parameters.front().value.options().dtype(torch::kFloat32));
}

void AdamW::step(double lr, double grad_scale) {
  torch::NoGradGuard no_grad;
  step_.add_(1);
  const auto steps_taken = static_cast<double>(++taken_);
  const double unbiased1 = 1 - std::pow(options_.beta1, steps_taken),
               unbiased2 = 1 - std::pow(options_.beta2, steps_taken);
  std::vector<Move> moves;  // of all groups: threads part and meet once
  for (const Group& group : groups_) {
    const double group_lr = lr * group.lr_scale;
    const AdamWFactors factors{.grad_scale = static_cast<float>(grad_scale),
                               .rate1 = static_cast<float>(1 - options_.beta1),
                               .rate2 = static_cast<float>(1 - options_.beta2),
                               .root_scale = static_cast<float>(1 / std::sqrt(unbiased2)),
                               .eps = static_cast<float>(options_.eps),
                               .kept = static_cast<float>(1 - group_lr * group.weight_decay),
                               .lr = static_cast<float>(group_lr / unbiased1)};
    std::vector<torch::Tensor> values, grads, exp_avgs, exp_avg_sqs;  // left to LibTorch
    for (const Parameter& parameter : group.parameters) {
      torch::Tensor value = parameter.value, exp_avg = parameter.exp_avg, exp_avg_sq = parameter.exp_avg_sq;
      const torch::Tensor& grad = value.grad();
      if (!grad.defined() || !owns(parameter)) continue;
      if (in_vectors(value) && in_vectors(grad) && in_vectors(exp_avg) && in_vectors(exp_avg_sq)) {
        for_each_chunk(value.numel(), [&](int64_t first, int64_t count) {
          moves.push_back({.factors = factors,
                           .grad = grad.const_data_ptr<float>() + first,
                           .value = value.mutable_data_ptr<float>() + first,
                           .exp_avg = exp_avg.mutable_data_ptr<float>() + first,
                           .exp_avg_sq = exp_avg_sq.mutable_data_ptr<float>() + first,
                           .count = count});
        });
        value.unsafeGetTensorImpl()->bump_version();
        continue;
      }
      values.push_back(value);
      grads.push_back(grad);
      exp_avgs.push_back(exp_avg);
      exp_avg_sqs.push_back(exp_avg_sq);
    }
    if (values.empty()) continue;
    const std::vector<torch::Tensor> steps(values.size(), step_);
    std::optional<torch::Tensor> divisor;
    if (grad_scale != 1) divisor = torch::full_like(step_, 1 / grad_scale);
    at::_fused_adamw_(values, grads, exp_avgs, exp_avg_sqs, /*max_exp_avg_sqs=*/{}, steps, group_lr, options_.beta1,
                      options_.beta2, group.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false, divisor);
  }
  parallel_for(0, static_cast<int64_t>(moves.size()), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Move& move = moves[static_cast<size_t>(i)];
      kernels().adamw(move.factors, move.grad, move.value, move.exp_avg, move.exp_avg_sq, move.count);
    }
  });
  if (shards_ != nullptr) share_parameters();
}

// Each rank's part in one message.
void AdamW::share_parameters() {
  std::vector<std::vector<torch::Tensor>> parts(static_cast<size_t>(shards_->ranks()));
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.value.grad().defined()) parts[static_cast<size_t>(parameter.owner)].push_back(parameter.value);
    }
  }
  for (int64_t rank = 0; rank < shards_->ranks(); ++rank) {
    const auto& values = parts[static_cast<size_t>(rank)];
    if (values.empty()) continue;
    std::vector<torch::Tensor> flat;
    for (const auto& value : values) flat.push_back(value.flatten());
    auto all = torch::cat(flat);
    shards_->broadcast(all, rank);
    if (rank == shards_->rank()) continue;
    int64_t at = 0;
    for (const auto& value : values) {
      value.view({-1}).copy_(all.slice(0, at, at + value.numel()));
      at += value.numel();
    }
  }
}

void AdamW::zero_grad() {
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) parameter.value.mutable_grad().reset();
  }
}

std::vector<torch::Tensor> AdamW::grads() const {
  std::vector<torch::Tensor> grads;
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.value.grad().defined()) grads.push_back(parameter.value.grad());
    }
  }
  return grads;
}

torch::Tensor AdamW::grad_norm() const {
  const auto all = grads();
  if (!std::ranges::all_of(all, in_vectors)) return torch::stack(at::_foreach_norm(all)).norm().to(torch::kFloat64);
  std::vector<std::span<const float>> chunks;
  for (const auto& grad : all) {
    for_each_chunk(grad.numel(), [&](int64_t first, int64_t count) {
      chunks.emplace_back(grad.const_data_ptr<float>() + first, static_cast<size_t>(count));
    });
  }
  std::vector<double> sums(chunks.size());
  parallel_for(0, static_cast<int64_t>(chunks.size()), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      sums[i] = kernels().sum_squares(chunks[i].data(), static_cast<int64_t>(chunks[i].size()));
  });
  return torch::full({}, std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0)), torch::kFloat64);
}

std::map<std::string, torch::Tensor> AdamW::own_state() const {
  std::map<std::string, torch::Tensor> state{{"step", step_}};
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      if (!owns(parameter)) continue;
      state.emplace("exp_avg." + parameter.name, parameter.exp_avg);
      state.emplace("exp_avg_sq." + parameter.name, parameter.exp_avg_sq);
    }
  }
  return state;
}

std::map<std::string, torch::Tensor> AdamW::state() const {
  auto state = own_state();
  if (shards_ == nullptr) return state;
  for (const Group& group : groups_) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.owner == 0) continue;  // the first rank gathers
      for (const auto& [kind, mine] :
           {std::pair("exp_avg.", parameter.exp_avg), {"exp_avg_sq.", parameter.exp_avg_sq}}) {
        auto part = owns(parameter) ? mine : torch::empty_like(parameter.value);
        shards_->broadcast(part, parameter.owner);
        if (shards_->leads()) state.emplace(kind + parameter.name, part);
      }
    }
  }
  return state;
}

void AdamW::set_state(const std::map<std::string, torch::Tensor>& state) {
  const torch::NoGradGuard no_grad;
  for (auto& [name, mine] : own_state()) {
    const auto found = state.find(name);
    require(found != state.end() && found->second.sizes() == mine.sizes(),
            "optimizer: expected the state '{}' [{}], got {}; the checkpoint is another model's: use --resume never or "
            "another --output",
            name, fmt::join(mine.sizes(), ", "),
            found == state.end() ? "none" : fmt::format("[{}]", fmt::join(found->second.sizes(), ", ")));
    mine.copy_(found->second);
  }
  taken_ = step_.item<int64_t>();
}

}  // namespace beit

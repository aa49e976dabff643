// Small trainings on made-up images, in any floating-point type: steps of a batch of 12, however it is divided.
// Shape letters: B images of the batch, N = 16 patches.
#pragma once

#include <torch/torch.h>

#include <utility>
#include <vector>

#include "core/mim.h"
#include "core/tokenizer.h"
#include "train/finetune.h"
#include "train/step.h"
#include "train/task.h"

namespace beit {

inline constexpr int64_t kStepImages = 12;
inline const ViTOptions kSmallTower{
    .grid = {4, 4}, .patch_size = 4, .width = 16, .depth = 2, .heads = 2, .drop_path = 0.2};

/// Those of the batch of step `step` that belong to a rank, in `type`.
inline torch::Tensor rank_rows(const torch::Tensor& all_B, int64_t rank, int64_t ranks, torch::ScalarType type) {
  const auto rows = all_B.slice(0, rank, all_B.size(0), ranks);
  return rows.is_floating_point() ? rows.to(type) : rows;
}

inline at::Generator generator_of(int64_t step) {
  return at::detail::createCPUGenerator(static_cast<uint64_t>(step) + 9);
}

/// Masked image modelling of made-up codes.
class SmallMim : public TrainingTask {
 public:
  explicit SmallMim(torch::ScalarType type) : type_(type) {
    torch::manual_seed(21);
    ViTOptions vit = kSmallTower;
    vit.layer_scale = 0.1;
    vit.absolute_position = false;
    vit.relative_position = RelPos::kShared;
    model_ = MaskedImageModel(MimOptions{.vit = vit, .codes = 16, .early_layers = 1, .head_layers = 1});
    model_->to(type);
  }
  torch::nn::Module& model() override { return *model_; }
  StepLoss loss(const Batch& batch, const StepPart& part) override {
    const auto& mask_BN = batch.views[1];
    const auto loss = model_->loss(batch.views[0], mask_BN, batch.views[2].masked_select(mask_BN), part);
    return {loss.total, {{"accuracy", loss.accuracy_main}}};
  }
  nlohmann::ordered_json validate() override { return {}; }
  Batch batch(int64_t step, int64_t rank, int64_t ranks) const {
    auto generator = generator_of(step);
    const auto images = torch::rand({kStepImages, 3, 16, 16}, generator);
    const auto mask_BN = torch::rand({kStepImages, 16}, generator).argsort(/*dim=*/int64_t{1}).lt(6);
    const auto codes_BN = torch::randint(16, {kStepImages, 16}, generator, torch::kInt64);
    const auto part = [&](const torch::Tensor& all) { return rank_rows(all, rank, ranks, type_); };
    const auto indices_B = part(torch::arange(kStepImages));
    return {{part(images), part(mask_BN), part(codes_BN)}, indices_B, indices_B};
  }
  MaskedImageModel network() { return model_; }

 private:
  torch::ScalarType type_;
  MaskedImageModel model_ = nullptr;
};

/// VQ-KD of made-up features; starts by k-means, and revives codes.
class SmallVqkd : public TrainingTask {
 public:
  SmallVqkd(torch::ScalarType type, Ranks ranks) : type_(type) {
    torch::manual_seed(22);
    model_ =
        Tokenizer(TokenizerOptions{.encoder = kSmallTower,
                                   .decoder_width = 16,
                                   .decoder_depth = 1,
                                   .decoder_heads = 2,
                                   .quantizer = {.codes = 12, .width = 4, .revive_threshold = 0.5, .revive_every = 6},
                                   .target_width = 6},
                  std::move(ranks));
    model_->to(type);
  }
  torch::nn::Module& model() override { return *model_; }
  void begin_step(const std::vector<Batch>& batches, const std::vector<StepPart>& parts) override {
    if (parts.size() == 1 || !model_->quantizer()->needs_start()) return;
    std::vector<torch::Tensor> images;
    for (const Batch& batch : batches) images.push_back(batch.views[0]);
    model_->stage_start(images, parts);
  }
  StepLoss loss(const Batch& batch, const StepPart& part) override {
    return {model_->forward(batch.views[0], batch.views[1], part).total, {}};
  }
  void step_taken() override { model_->quantizer()->update(); }
  void step_refused() override { model_->quantizer()->discard(); }
  nlohmann::ordered_json validate() override { return {}; }
  Batch batch(int64_t step, int64_t rank, int64_t ranks) const {
    auto generator = generator_of(step);
    const auto images = torch::rand({kStepImages, 3, 16, 16}, generator);
    const auto target = torch::randn({kStepImages, 16, 6}, generator);
    const auto part = [&](const torch::Tensor& all) { return rank_rows(all, rank, ranks, type_); };
    const auto indices_B = part(torch::arange(kStepImages));
    return {{part(images), part(target)}, indices_B, indices_B};
  }
  Tokenizer network() { return model_; }

 private:
  torch::ScalarType type_;
  Tokenizer model_ = nullptr;
};

/// Fine-tuning on made-up classes, with mixup and cutmix.
class SmallFinetune : public TrainingTask {
 public:
  SmallFinetune(torch::ScalarType type, Distributed& distributed)
      : type_(type),
        model_(network_of(type)),
        task_(model_, MixOptions{}, 1.0, nullptr, {}, torch::kCPU, distributed) {}
  torch::nn::Module& model() override { return *model_; }
  void begin_step(const std::vector<Batch>& batches, const std::vector<StepPart>& parts) override {
    task_.begin_step(batches, parts);
  }
  StepLoss loss(const Batch& batch, const StepPart& part) override { return task_.loss(batch, part); }
  nlohmann::ordered_json validate() override { return {}; }
  Batch batch(int64_t step, int64_t rank, int64_t ranks) const {
    auto generator = generator_of(step);
    const auto images = torch::rand({kStepImages, 3, 16, 16}, generator);
    const auto labels_B = torch::randint(5, {kStepImages}, generator, torch::kInt64);
    const auto part = [&](const torch::Tensor& all) { return rank_rows(all, rank, ranks, type_); };
    return {{part(images)}, part(torch::arange(kStepImages)), part(labels_B)};
  }

 private:
  static Classifier network_of(torch::ScalarType type) {
    torch::manual_seed(23);
    ViTOptions vit = kSmallTower;
    vit.layer_scale = 0.1;
    vit.absolute_position = false;
    vit.relative_position = RelPos::kBlock;
    Classifier model(ClassifierOptions{.vit = vit, .classes = 5, .head_scale = 1});
    model->to(type);
    return model;
  }

  torch::ScalarType type_;
  Classifier model_;
  FinetuneTask task_;
};

/// What twenty steps give: `losses` [20], `gradient.*` and `codes` (VQ-KD: of the next batch, [B, N]) of the first
/// step, `weights.*` at the end.
template <class Task>
TensorMap twenty_steps(Task& task, const TrainOptions& options, Distributed& distributed, bool shard = false) {
  constexpr int64_t kSteps = 20;
  AdamW optimizer(task.model(), {.weight_decay = 0.05}, shard ? &distributed : nullptr);
  TrainingStep stepping(task, optimizer, options, distributed);
  TensorMap found;
  std::vector<double> losses;
  for (int64_t step = 0; step < kSteps; ++step) {
    losses.push_back(stepping
                         .take(
                             task.batch(step, distributed.rank(), distributed.ranks()), step, 1e-3, [] {},
                             [] { return std::string(); })
                         .loss);
    if (step > 0) continue;
    for (const auto& item : task.model().named_parameters()) {
      if (item.value().grad().defined()) found.emplace("gradient." + item.key(), item.value().grad().clone());
    }
    if constexpr (std::is_same_v<Task, SmallVqkd>) {
      task.model().eval();
      found.emplace("codes", task.network()->codes(task.batch(1, 0, 1).views[0]));
    }
  }
  found.emplace("losses", torch::tensor(losses, torch::kFloat64));
  for (const auto& item : task.model().named_parameters()) {
    found.emplace("weights." + item.key(), item.value().detach().clone());
  }
  return found;
}

/// Largest difference, as a share of the largest value expected.
inline double apart(const torch::Tensor& got, const torch::Tensor& expected) {
  const double largest = expected.abs().max().item<double>();
  return (got - expected).abs().max().item<double>() / std::max(largest, 1e-300);
}

}  // namespace beit

// Training of the visual tokenizer: vector-quantized knowledge distillation (paper, section 2.2).
// Shape letters: B images, H and W pixels, K codes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "core/tokenizer.h"
#include "train/distributed.h"
#include "train/targets.h"
#include "train/task.h"

namespace beit {

/// Samples of vqkd: the tokenizer's view [3, H, W] in [0, 1], and whether it is mirrored, bool [].
/// `model` must be resolved.
Transform vqkd_transform(const ModelOptions& model, const DataOptions& data, uint64_t seed);

class VqkdTask : public TrainingTask {
 public:
  /// `validation` gives evaluation views of this rank's images; it may be null. Everything handed in must outlive the
  /// task.
  VqkdTask(Tokenizer& tokenizer, Targets& targets, Loader* validation, const torch::Device& device,
           Distributed& distributed)
      : tokenizer_(tokenizer), targets_(targets), validation_(validation), device_(device), distributed_(distributed) {}

  torch::nn::Module& model() override { return *tokenizer_; }
  void begin_step(const std::vector<Batch>& batches, const std::vector<StepPart>& parts) override;
  StepLoss loss(const Batch& batch, const StepPart& part) override;
  void step_taken() override;
  void step_refused() override { tokenizer_->quantizer()->discard(); }
  void begin_epoch() override;
  nlohmann::ordered_json end_epoch() override;
  nlohmann::ordered_json validate() override;
  TensorMap progress() const override { return tokenizer_->quantizer()->progress(); }
  void set_progress(const TensorMap& progress) override { tokenizer_->quantizer()->set_progress(progress); }

  /// Teacher's and predicted features of a batch's first images, in eval() and without gradients: nothing that training
  /// counts or draws changes. The model is left in train(). Not collective. Errors: those of Targets::of().
  std::vector<Picture> pictures(const Batch& batch) override;

  /// `codebook`: how often training used each code since the epoch began, as log_uses() of viz/feature_picture.h has
  /// it.
  std::vector<std::pair<std::string, torch::Tensor>> histograms() override;

 private:
  void warn_of_collapse();

  Tokenizer& tokenizer_;
  Targets& targets_;
  Loader* validation_;
  torch::Device device_;
  Distributed& distributed_;

  torch::Tensor recent_counts_K_;  // since the last look for a collapse
  int64_t recent_steps_ = 0;
  bool warned_ = false;  // in this epoch
};

}  // namespace beit

// Pre-training by masked image modelling with CLS patch aggregation (paper, section 2.3).
// Shape letters: B images, H and W pixels, N patches.
#pragma once

#include <vector>

#include "base/config.h"
#include "core/mim.h"
#include "core/tokenizer.h"
#include "train/distributed.h"
#include "train/task.h"

namespace beit {

/// Samples of pre-training: the student's view [3, H, W] in ImageNet's mean and deviation, the tokenizer's view in
/// [0, 1] and its own size, and the mask, bool [N]. `model` and `choice` must be resolved,
/// `choice.tokenizer_image_size` the view's size.
Transform pretrain_transform(const ModelOptions& model, const MimChoice& choice, const DataOptions& data,
                             uint64_t seed);

class PretrainTask : public TrainingTask {
 public:
  /// `tokenizer` is frozen, in eval(). `validation` gives samples of the same form, of this rank's images; it may be
  /// null. Everything handed in must outlive the task.
  PretrainTask(MaskedImageModel& model, Tokenizer& tokenizer, Loader* validation, const torch::Device& device,
               Distributed& distributed)
      : model_(model), tokenizer_(tokenizer), validation_(validation), device_(device), distributed_(distributed) {}

  torch::nn::Module& model() override { return *model_; }
  StepLoss loss(const Batch& batch, const StepPart& part) override;
  nlohmann::ordered_json validate() override;

  /// What the model foretells of a batch's first images (from the last block), in eval() and without gradients: nothing
  /// that training counts or draws changes. The model is left in train(). Not collective.
  std::vector<Picture> pictures(const Batch& batch) override;

 private:
  MimLoss forward(const Batch& batch, const StepPart& part = {});

  MaskedImageModel& model_;
  Tokenizer& tokenizer_;
  Loader* validation_;
  torch::Device device_;
  Distributed& distributed_;
};

}  // namespace beit

// Fine-tuning: a trained backbone learns to tell classes apart (paper, section 3.2 and appendix).
// Shape letters: B images of a part, K classes, V classes of the validation data.
#pragma once

#include <string>
#include <vector>

#include "base/config.h"
#include "core/classifier.h"
#include "data/loader.h"
#include "data/mixup.h"
#include "train/distributed.h"
#include "train/network_file.h"
#include "train/task.h"

namespace beit {

/// Samples of fine-tuning: one view, float32 [3, H, W] in ImageNet's mean and deviation: a random crop, mirrored half
/// of the time, then RandAugment, and random erasing after the standardisation. `model` must be resolved.
/// Error for an augmentation that is not understood.
Transform finetune_transform(const ModelOptions& model, const DataOptions& data, const AugmentOptions& augment,
                             uint64_t seed);

/// The classifier starts from the file's backbone (train/backbone_start.h). From a classifier with the same pooling it
/// takes the head too, where that has as many classes, of the same names if it has names; what it does with a head is
/// logged. `class_names` are those of the network's outputs.
void start_from(Classifier& network, const NetworkFile& file, const std::vector<std::string>& class_names);

class FinetuneTask : public TrainingTask {
 public:
  /// `validation` gives views in ImageNet's mean and deviation, of this rank's images, and may be null;
  /// `val_classes_V` (int64, on the CPU) says which output each of its classes is. Everything handed in must outlive
  /// the task.
  FinetuneTask(Classifier& model, const MixOptions& mix, double layer_decay, Loader* validation,
               torch::Tensor val_classes_V, const torch::Device& device, Distributed& distributed);

  torch::nn::Module& model() override { return *model_; }
  LayerDecay layer_decay() const override { return {.rate = layer_decay_, .depth = model_->options().depth}; }

  /// Mixes the step's images. The partner of sample s of all S is S - 1 - s, on whichever rank that is, so that a step
  /// is the same however it is divided. Collective where something is mixed.
  void begin_step(const std::vector<Batch>& batches, const std::vector<StepPart>& parts) override;
  /// Of the parts in their order. `top1`, in percent, only where no batch is ever mixed: a mixed image has no one
  /// class.
  StepLoss loss(const Batch& batch, const StepPart& part) override;
  /// val_loss (cross-entropy without smoothing), val_top1 and, of more than five classes, val_top5 in percent.
  nlohmann::ordered_json validate() override;

 private:
  Classifier& model_;
  MixupOptions mixup_;
  double label_smoothing_, layer_decay_;
  Loader* validation_;
  torch::Tensor val_classes_V_;
  torch::Device device_;
  Distributed& distributed_;
  std::vector<MixedBatch> parts_;  // of the step, those to come
  size_t next_part_ = 0;
};

}  // namespace beit

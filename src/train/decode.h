// Training of a pixel decoder: from a frozen tokenizer's codes back to the images that they are of.
// Shape letters: B images, H and W pixels.
#pragma once

#include <vector>

#include "core/pixel_decoder.h"
#include "core/tokenizer.h"
#include "train/distributed.h"
#include "train/task.h"

namespace beit {

/// Samples are those of vqkd_transform() (train/vqkd.h) at the tokenizer's image size, of which the first view is used,
/// [3, H, W] in [0, 1].
class DecodeTask : public TrainingTask {
 public:
  /// `tokenizer` is frozen, in eval(), and the decoder has its codebook. `validation` gives evaluation views of this
  /// rank's images; it may be null. Everything handed in must outlive the task.
  DecodeTask(PixelDecoder& decoder, Tokenizer& tokenizer, Loader* validation, const torch::Device& device,
             Distributed& distributed)
      : decoder_(decoder), tokenizer_(tokenizer), validation_(validation), device_(device), distributed_(distributed) {}

  torch::nn::Module& model() override { return *decoder_; }
  StepLoss loss(const Batch& batch, const StepPart& part) override;
  /// Of pictures cut to [0, 1], means over the images.
  nlohmann::ordered_json validate() override;

  /// A batch's first images, each beside what its codes become, in eval() and without gradients: nothing that training
  /// counts or draws changes. The model is left in train(). Not collective.
  std::vector<Picture> pictures(const Batch& batch) override;

 private:
  PixelDecoder& decoder_;
  Tokenizer& tokenizer_;
  Loader* validation_;
  torch::Device device_;
  Distributed& distributed_;
};

}  // namespace beit

// The backbone with a classification head (paper, section 3.2).
// Shape letters: B images, T tokens, D width.
#pragma once

#include <torch/torch.h>

#include "core/vit.h"

namespace beit {

enum class Pooling {
  kMean,  ///< `fc_norm` over the mean of the patch tokens
  kCls,   ///< `norm`, then the CLS token
};

struct ClassifierOptions {
  ViTOptions vit;
  int64_t classes = 1000;
  Pooling pooling = Pooling::kMean;
  double head_scale = 0.001;  ///< the head's initial weights are multiplied by this
};

/// Names in files: as the backbone's, head.weight, head.bias.
class ClassifierImpl : public ViTImpl {
 public:
  explicit ClassifierImpl(const ClassifierOptions& options);

  /// Images [B, C, height, width] to logits [B, classes].
  torch::Tensor forward(const torch::Tensor& images_BCHW, const StepPart& part = {});

 private:
  Pooling pooling_;
  torch::nn::Linear head_ = nullptr;
};
TORCH_MODULE(Classifier);

}  // namespace beit

// The backbone with a classification head (paper, section 3.2).
// Shape letters: B images, T tokens, D width, K classes.
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

  Pooling pooling() const { return pooling_; }
  int64_t classes() const { return head_->options.out_features(); }

 private:
  Pooling pooling_;
  torch::nn::Linear head_ = nullptr;
};
TORCH_MODULE(Classifier);

/// Mean over images of the cross-entropy of logits [B, K] with targets [B, K], whose rows sum to 1; in float32 at
/// least.
torch::Tensor soft_cross_entropy(const torch::Tensor& logits_BK, const torch::Tensor& targets_BK);

}  // namespace beit

#include "core/classifier.h"

namespace beit {

ClassifierImpl::ClassifierImpl(const ClassifierOptions& options)
    : ViTImpl(options.vit, options.pooling == Pooling::kMean ? FinalNorm::kPatches : FinalNorm::kTokens),
      pooling_(options.pooling),
      head_(register_module("head", torch::nn::Linear(options.vit.width, options.classes))) {
  init({});
  torch::NoGradGuard no_grad;
  head_->weight.mul_(options.head_scale);
}

torch::Tensor ClassifierImpl::forward(const torch::Tensor& images_BCHW, const StepPart& part) {
  const auto x_BTD = tokens(images_BCHW, part);
  // LayerNorm works on each token alone, so the CLS token may be taken before it.
  const auto pooled_BD = pooling_ == Pooling::kMean ? x_BTD.slice(1, 1).mean(1) : x_BTD.select(1, 0);
  return head_->forward(norm_->forward(pooled_BD));
}

}  // namespace beit

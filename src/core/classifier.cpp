#include "core/classifier.h"

#include "base/error.h"
#include "core/full_precision.h"

namespace beit {

ClassifierImpl::ClassifierImpl(const ClassifierOptions& options)
    : ViTImpl(options.vit, options.pooling == Pooling::kMean ? FinalNorm::kPatches : FinalNorm::kTokens),
      pooling_(options.pooling),
      head_(register_module("head", torch::nn::Linear(options.vit.width, options.classes))) {
  init({});
  if (!gives_initial_values()) return;
  torch::NoGradGuard no_grad;
  head_->weight.mul_(options.head_scale);
}

torch::Tensor ClassifierImpl::forward(const torch::Tensor& images_BCHW, const StepPart& part) {
  const auto x_BTD = tokens(images_BCHW, part);
  // LayerNorm works on each token alone, so the CLS token may be taken before it.
  const auto pooled_BD = pooling_ == Pooling::kMean ? x_BTD.slice(1, 1).mean(1) : x_BTD.select(1, 0);
  return head_->forward(norm_->forward(pooled_BD));
}

torch::Tensor soft_cross_entropy(const torch::Tensor& logits_BK, const torch::Tensor& targets_BK) {
  require(logits_BK.dim() == 2 && logits_BK.sizes() == targets_BK.sizes() && targets_BK.is_floating_point(),
          "classifier: expected targets of the logits' shape [{}], got [{}]", fmt::join(logits_BK.sizes(), ", "),
          fmt::join(targets_BK.sizes(), ", "));
  const FullPrecision full_precision;
  const auto exact_BK = at_least_float32(logits_BK);
  return torch::cross_entropy_loss(exact_BK, targets_BK.to(exact_BK.scalar_type()));
}

}  // namespace beit

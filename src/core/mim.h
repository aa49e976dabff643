// Masked image modelling with CLS patch aggregation (paper, section 2.3).
// Shape letters: B images, N patches, T = N + 1 tokens, D width, M masked patches of the batch, V codes.
#pragma once

#include <torch/torch.h>

#include "core/masked_tokens.h"
#include "core/vit.h"

namespace beit {

struct MimOptions {
  ViTOptions vit;
  int64_t codes = 8192;      ///< V
  bool cls_branch = true;    ///< CLS patch aggregation
  int64_t early_layers = 9;  ///< its patch tokens come from after this block
  int64_t head_layers = 2;   ///< its blocks
  bool shared_head = true;   ///< norm and lm_head serve both branches; else cls_pt_norm and cls_pt_lm_head
};

/// Of the masked patches, image by image.
struct MimLogits {
  torch::Tensor main_MV;    ///< from the last block
  torch::Tensor cls_pt_MV;  ///< from the CLS branch; undefined without it
};

struct MimLoss {
  torch::Tensor total;                           ///< main + cls_pt
  torch::Tensor main;                            ///< cross-entropy of the masked patches' codes
  torch::Tensor cls_pt;                          ///< likewise from the CLS branch; undefined without it
  torch::Tensor accuracy_main, accuracy_cls_pt;  ///< share of masked codes foretold, in [0, 1], float32
};

/// The pre-training model. Names in files: as the backbone's, mask_token, cls_pt_layers.N.*, lm_head.*, cls_pt_norm.*,
/// cls_pt_lm_head.*.
class MaskedImageModelImpl : public ViTImpl {
 public:
  explicit MaskedImageModelImpl(const MimOptions& options);

  /// Images [B, C, height, width], of whose patches some are masked, to logits at these. Of what nothing else reads
  /// nothing is computed: the last block of each branch has no other tokens.
  MimLogits forward(const torch::Tensor& images_BCHW, const MaskedTokens& masked, const StepPart& part = {});
  MimLogits forward(const torch::Tensor& images_BCHW, const torch::Tensor& mask_BN, const StepPart& part = {}) {
    return forward(images_BCHW, masked_tokens(mask_BN, images_BCHW.device()), part);
  }

  /// The losses against the tokenizer's codes at the masked patches, int64 [M]; on the CPU logits are never held all at
  /// once (core/linear_cross_entropy.h).
  MimLoss loss(const torch::Tensor& images_BCHW, const MaskedTokens& masked, const torch::Tensor& targets_M,
               const StepPart& part = {});
  MimLoss loss(const torch::Tensor& images_BCHW, const torch::Tensor& mask_BN, const torch::Tensor& targets_M,
               const StepPart& part = {}) {
    return loss(images_BCHW, masked_tokens(mask_BN, images_BCHW.device()), targets_M, part);
  }

 private:
  /// What the heads read: masked patches after the final norm, [M, D], of both branches.
  struct Features {
    torch::Tensor main_MD, cls_pt_MD;  ///< the latter undefined without the CLS branch
  };
  Features features(const torch::Tensor& images_BCHW, const MaskedTokens& masked, const StepPart& part);
  const torch::nn::Linear& cls_pt_head() const { return mim_.shared_head ? lm_head_ : cls_pt_lm_head_; }

  MimOptions mim_;
  torch::Tensor mask_token_;
  torch::nn::ModuleList cls_pt_layers_;
  torch::nn::Linear lm_head_ = nullptr, cls_pt_lm_head_ = nullptr;
  torch::nn::LayerNorm cls_pt_norm_ = nullptr;
};
TORCH_MODULE(MaskedImageModel);

}  // namespace beit

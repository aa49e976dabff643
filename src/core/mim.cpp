#include "core/mim.h"

#include "base/error.h"
#include "core/full_precision.h"

namespace beit {

MaskedImageModelImpl::MaskedImageModelImpl(const MimOptions& options)
    : ViTImpl(options.vit, FinalNorm::kTokens), mim_(options) {
  const ViTOptions& vit = options.vit;
  mask_token_ = register_parameter("mask_token", torch::zeros({1, 1, vit.width}));
  if (options.cls_branch) {
    require(options.early_layers >= 1 && options.early_layers <= vit.depth && options.head_layers >= 1,
            "mim: expected early_layers between 1 and the depth {} and at least one head layer, got {} and {}; "
            "set --early-layers and --head-layers",
            vit.depth, options.early_layers, options.head_layers);
    const int64_t end = options.early_layers + options.head_layers;
    const auto rates = drop_path_rates(vit.drop_path, std::max(vit.depth, end));
    for (int64_t i = options.early_layers; i < end; ++i)
      cls_pt_layers_->push_back(Block(vit, rates[static_cast<size_t>(i)]));
    register_module("cls_pt_layers", cls_pt_layers_);
  }
  lm_head_ = register_module("lm_head", torch::nn::Linear(vit.width, options.codes));
  if (options.cls_branch && !options.shared_head) {
    cls_pt_norm_ = register_module("cls_pt_norm", layer_norm(vit.width));
    cls_pt_lm_head_ = register_module("cls_pt_lm_head", torch::nn::Linear(vit.width, options.codes));
  }
  const InitOptions start{.cut = 0.02, .convolutions = true};
  init(start);
  trunc_normal_(mask_token_, start.std, start.cut);
  for (size_t i = 0; i < cls_pt_layers_->size(); ++i) {
    cls_pt_layers_->at<BlockImpl>(i).rescale(options.early_layers + static_cast<int64_t>(i) + 1);
  }
}

MimLogits MaskedImageModelImpl::forward(const torch::Tensor& images_BCHW, const torch::Tensor& mask_BN,
                                        const StepPart& part) {
  const Grid grid = this->grid(images_BCHW);
  const int64_t images = images_BCHW.size(0), patches = grid.patches();
  require(mask_BN.dim() == 2 && mask_BN.size(0) == images && mask_BN.size(1) == patches &&
              mask_BN.scalar_type() == torch::kBool,
          "mim: expected a bool mask [{}, {}], got {} [{}]; one entry a patch", images, patches,
          torch::toString(mask_BN.scalar_type()), fmt::join(mask_BN.sizes(), ", "));
  check_part(part, images);
  auto x_BTD = embed(torch::where(mask_BN.unsqueeze(-1), mask_token_, patch_embed_->forward(images_BCHW)), grid);
  const auto other = other_grid(grid);
  const auto bias_HTT = shared_bias(other);
  torch::Tensor early_BND;
  for (size_t i = 0; i < blocks_->size(); ++i) {
    x_BTD = blocks_->at<BlockImpl>(i).forward(x_BTD, bias_HTT, other, part);
    if (mim_.cls_branch && static_cast<int64_t>(i) + 1 == mim_.early_layers) early_BND = x_BTD.slice(1, 1);
  }
  // Rows of the masked patches among all tokens: norm and head see nothing else.
  const auto patch_M = mask_BN.flatten().nonzero().squeeze(1);
  const auto row_M = patch_M + patch_M.div(patches, "floor") + 1;
  const auto masked = [&](const torch::Tensor& tokens_BTD) {
    return torch::embedding(tokens_BTD.flatten(0, 1), row_M);
  };

  MimLogits logits;
  logits.main_MV = lm_head_->forward(norm_->forward(masked(x_BTD)));
  if (!mim_.cls_branch) return logits;
  auto y_BTD = torch::cat({x_BTD.slice(1, 0, 1), early_BND}, 1);
  for (size_t i = 0; i < cls_pt_layers_->size(); ++i)
    y_BTD = cls_pt_layers_->at<BlockImpl>(i).forward(y_BTD, bias_HTT, other, part);
  auto& norm = mim_.shared_head ? norm_ : cls_pt_norm_;
  auto& head = mim_.shared_head ? lm_head_ : cls_pt_lm_head_;
  logits.cls_pt_MV = head->forward(norm->forward(masked(y_BTD)));
  return logits;
}

MimLoss mim_loss(const MimLogits& logits, const torch::Tensor& targets_M) {
  const FullPrecision full_precision;
  const auto cross_entropy = [&](const torch::Tensor& logits_MV) {
    return torch::cross_entropy_loss(at_least_float32(logits_MV), targets_M);
  };
  const auto accuracy = [&](const torch::Tensor& logits_MV) {
    return logits_MV.detach().argmax(1).eq(targets_M).to(torch::kFloat32).mean();
  };
  MimLoss loss;
  loss.main = cross_entropy(logits.main_MV);
  loss.accuracy_main = accuracy(logits.main_MV);
  loss.total = loss.main;
  if (logits.cls_pt_MV.defined()) {
    loss.cls_pt = cross_entropy(logits.cls_pt_MV);
    loss.accuracy_cls_pt = accuracy(logits.cls_pt_MV);
    loss.total = loss.main + loss.cls_pt;
  }
  return loss;
}

}  // namespace beit

#include "core/mim.h"

#include "base/error.h"
#include "core/linear.h"
#include "core/linear_cross_entropy.h"

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

MaskedImageModelImpl::Features MaskedImageModelImpl::features(const torch::Tensor& images_BCHW,
                                                              const MaskedTokens& masked, const StepPart& part) {
  const Grid grid = this->grid(images_BCHW);
  const int64_t images = images_BCHW.size(0), patches = grid.patches();
  require(masked.mask_BN.sizes() == torch::IntArrayRef({images, patches}),
          "mim: expected a mask [{}, {}], got [{}]; one entry a patch", images, patches,
          fmt::join(masked.mask_BN.sizes(), ", "));
  check_part(part, images);
  // The losses read masked patches alone, and the CLS branch the CLS token: last blocks compute no others.
  const auto& masked_BQ = masked.tokens_BQ;
  const auto cls_B1 = torch::zeros({images, 1}, masked_BQ.options());
  const auto last_BQ = mim_.cls_branch ? torch::cat({cls_B1, masked_BQ}, 1) : masked_BQ;
  const auto other = other_grid(grid);
  const auto bias_HTT = shared_bias(other);
  const auto block = [&](torch::nn::ModuleList& blocks, size_t i, const torch::Tensor& x_BTD,
                         const torch::Tensor& tokens_BQ = {}) {
    return blocks->at<BlockImpl>(i).forward(x_BTD, bias_HTT, other, part, tokens_BQ);
  };

  auto x_BTD = embed(torch::where(masked.mask_BN.unsqueeze(-1), mask_token_, patch_embed_->forward(images_BCHW)), grid);
  torch::Tensor early_BND;
  const size_t last = blocks_->size() - 1;
  for (size_t i = 0; i < last; ++i) {
    x_BTD = block(blocks_, i, x_BTD);
    if (mim_.cls_branch && static_cast<int64_t>(i) + 1 == mim_.early_layers) early_BND = x_BTD.slice(1, 1);
  }
  if (mim_.cls_branch && !early_BND.defined()) {  // its patches come from the last block: all are read
    x_BTD = block(blocks_, last, x_BTD);
    early_BND = x_BTD.slice(1, 1);
    x_BTD = take_tokens(x_BTD, last_BQ);
  } else {
    x_BTD = block(blocks_, last, x_BTD, last_BQ);
  }
  Features found;
  found.main_MD = norm_->forward(masked.masked(x_BTD.slice(1, mim_.cls_branch ? 1 : 0)));
  if (!mim_.cls_branch) return found;

  auto y_BTD = torch::cat({x_BTD.slice(1, 0, 1), early_BND}, 1);
  for (size_t i = 0; i < cls_pt_layers_->size(); ++i) {
    y_BTD = block(cls_pt_layers_, i, y_BTD, i + 1 == cls_pt_layers_->size() ? masked_BQ : torch::Tensor());
  }
  found.cls_pt_MD = (mim_.shared_head ? norm_ : cls_pt_norm_)->forward(masked.masked(y_BTD));
  return found;
}

MimLogits MaskedImageModelImpl::forward(const torch::Tensor& images_BCHW, const MaskedTokens& masked,
                                        const StepPart& part) {
  const Features found = features(images_BCHW, masked, part);
  MimLogits logits{.main_MV = linear(found.main_MD, lm_head_), .cls_pt_MV = {}};
  if (mim_.cls_branch) logits.cls_pt_MV = linear(found.cls_pt_MD, cls_pt_head());
  return logits;
}

MimLoss MaskedImageModelImpl::loss(const torch::Tensor& images_BCHW, const MaskedTokens& masked,
                                   const torch::Tensor& targets_M, const StepPart& part) {
  const Features found = features(images_BCHW, masked, part);
  const auto share = [&](const torch::Tensor& right) { return right.to(torch::kFloat32) / targets_M.size(0); };
  const auto main = linear_cross_entropy(found.main_MD, lm_head_->weight, lm_head_->bias, targets_M);
  MimLoss loss{
      .total = main.loss, .main = main.loss, .cls_pt = {}, .accuracy_main = share(main.right), .accuracy_cls_pt = {}};
  if (mim_.cls_branch) {
    const auto& head = cls_pt_head();
    const auto cls_pt = linear_cross_entropy(found.cls_pt_MD, head->weight, head->bias, targets_M);
    loss.cls_pt = cls_pt.loss;
    loss.accuracy_cls_pt = share(cls_pt.right);
    loss.total = loss.main + loss.cls_pt;
  }
  return loss;
}

}  // namespace beit

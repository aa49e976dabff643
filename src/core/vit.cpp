#include "core/vit.h"

#include "base/error.h"

namespace beit {

ViTImpl::ViTImpl(const ViTOptions& options, FinalNorm final_norm) : options_(options) {
  require(options.grid.rows > 0 && options.grid.columns > 0 && options.patch_size > 0 && options.depth > 0,
          "vit: expected a positive grid, patch size and depth, got {}x{} patches of {} pixels and {} blocks; "
          "check --image-size, --patch-size and --depth",
          options.grid.rows, options.grid.columns, options.patch_size, options.depth);
  patch_embed_ = register_module("patch_embed", PatchEmbed(options));
  cls_token_ = register_parameter("cls_token", torch::zeros({1, 1, options.width}));
  if (options.absolute_position) {
    pos_embed_ = register_parameter("pos_embed", torch::zeros({1, options.grid.patches() + 1, options.width}));
  }
  if (options.relative_position == RelPos::kShared) {
    rel_pos_bias_ = register_module("rel_pos_bias", RelPosBias(options.grid, options.heads));
  }
  for (const double rate : drop_path_rates(options.drop_path, options.depth)) blocks_->push_back(Block(options, rate));
  register_module("blocks", blocks_);
  norm_ = register_module(final_norm == FinalNorm::kTokens ? "norm" : "fc_norm", layer_norm(options.width));
  init({});
}

void ViTImpl::init(const InitOptions& init) {
  init_linear_layers(*this, init);
  trunc_normal_(cls_token_, init.std, init.cut);
  if (pos_embed_.defined()) trunc_normal_(pos_embed_, init.std, init.cut);
  for (size_t i = 0; i < blocks_->size(); ++i) blocks_->at<BlockImpl>(i).rescale(static_cast<int64_t>(i) + 1);
}

torch::Tensor ViTImpl::embed(const torch::Tensor& patches_BND) {
  const auto x_BTD =
      torch::cat({cls_token_.expand({patches_BND.size(0), -1, -1}).to(patches_BND.dtype()), patches_BND}, 1);
  return pos_embed_.defined() ? x_BTD + pos_embed_ : x_BTD;
}

torch::Tensor ViTImpl::shared_bias() { return rel_pos_bias_.is_empty() ? torch::Tensor() : rel_pos_bias_->forward(); }

torch::Tensor ViTImpl::tokens(const torch::Tensor& images_BCHW) {
  return layers(images_BCHW, {options_.depth}).front();
}

torch::Tensor ViTImpl::patch_tokens(const torch::Tensor& images_BCHW) {
  return norm_->forward(tokens(images_BCHW).slice(1, 1));
}

std::vector<torch::Tensor> ViTImpl::layers(const torch::Tensor& images_BCHW, const std::vector<int64_t>& layers) {
  require(!layers.empty() && layers.front() >= 1 && layers.back() <= options_.depth && std::ranges::is_sorted(layers),
          "vit: expected rising layers between 1 and {}, got [{}]; check --layer", options_.depth,
          fmt::join(layers, ", "));
  auto x_BTD = embed(patch_embed_->forward(images_BCHW));
  const auto bias_HTT = shared_bias();
  std::vector<torch::Tensor> found;
  for (int64_t number = 1; number <= layers.back(); ++number) {
    x_BTD = blocks_->at<BlockImpl>(static_cast<size_t>(number - 1)).forward(x_BTD, bias_HTT);
    if (std::ranges::binary_search(layers, number)) found.push_back(x_BTD);
  }
  return found;
}

}  // namespace beit

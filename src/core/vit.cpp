#include "core/vit.h"

#include <algorithm>

#include "base/error.h"
#include "core/regrid.h"

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
  if (final_norm != FinalNorm::kNone) {
    norm_ = register_module(final_norm == FinalNorm::kTokens ? "norm" : "fc_norm", layer_norm(options.width));
  }
  init({});
}

void ViTImpl::init(const InitOptions& init) {
  init_linear_layers(*this, init);
  trunc_normal_(cls_token_, init.std, init.cut);
  if (pos_embed_.defined()) trunc_normal_(pos_embed_, init.std, init.cut);
  for (size_t i = 0; i < blocks_->size(); ++i) blocks_->at<BlockImpl>(i).rescale(static_cast<int64_t>(i) + 1);
}

torch::Tensor ViTImpl::embed(const torch::Tensor& patches_BND, const Grid& grid) {
  const auto x_BTD =
      torch::cat({cls_token_.expand({patches_BND.size(0), -1, -1}), patches_BND.to(cls_token_.dtype())}, 1);
  return pos_embed_.defined() ? x_BTD + resize_positions(pos_embed_, options_.grid, grid) : x_BTD;
}

std::optional<OtherGrid> ViTImpl::other_grid(const Grid& grid) {
  if (grid == options_.grid || options_.relative_position == RelPos::kNone) return {};
  constexpr size_t kKept = 8;
  const auto device = cls_token_.device();
  const auto found = std::ranges::find_if(
      other_grids_, [&](const OtherGrid& other) { return other.grid == grid && other.index_TT.device() == device; });
  if (found != other_grids_.end()) {
    std::rotate(other_grids_.begin(), found, found + 1);
  } else {
    if (other_grids_.size() == kKept) other_grids_.pop_back();
    other_grids_.push_front({grid, BiasResize(options_.grid, grid, device), relative_position_index(grid).to(device)});
  }
  return other_grids_.front();
}

torch::Tensor ViTImpl::shared_bias(const std::optional<OtherGrid>& other) {
  return rel_pos_bias_.is_empty() ? torch::Tensor() : rel_pos_bias_->forward(other);
}

torch::Tensor ViTImpl::tokens(const torch::Tensor& images_BCHW, const StepPart& part) {
  return layers(images_BCHW, {options_.depth}, part).front();
}

torch::Tensor ViTImpl::patch_tokens(const torch::Tensor& images_BCHW, const StepPart& part,
                                    const torch::Tensor& tokens_BQ) {
  const auto x_BTD = layers(images_BCHW, {options_.depth}, part, tokens_BQ).front();
  const auto x_BND = tokens_BQ.defined() ? x_BTD : x_BTD.slice(1, 1);
  return norm_.is_empty() ? x_BND : norm_->forward(x_BND);
}

void ViTImpl::set_recompute(bool on) {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* block = module->as<BlockImpl>()) block->set_recompute(on);
  }
}

void ViTImpl::check_layers(const std::vector<int64_t>& layers) const {
  require(!layers.empty() && layers.front() >= 1 && layers.back() <= options_.depth && std::ranges::is_sorted(layers),
          "vit: expected rising layers between 1 and {}, got [{}]; check --layer", options_.depth,
          fmt::join(layers, ", "));
}

std::vector<torch::Tensor> ViTImpl::layers(const torch::Tensor& images_BCHW, const std::vector<int64_t>& layers,
                                           const StepPart& part, const torch::Tensor& tokens_BQ) {
  check_layers(layers);
  check_part(part, images_BCHW.size(0));
  const Grid grid = this->grid(images_BCHW);
  const auto other = other_grid(grid);
  const auto bias_HTT = shared_bias(other);
  auto x_BTD = embed(patch_embed_->forward(images_BCHW), grid);
  std::vector<torch::Tensor> found;
  for (int64_t number = 1; number <= layers.back(); ++number) {
    auto& block = blocks_->at<BlockImpl>(static_cast<size_t>(number - 1));
    x_BTD = block.forward(x_BTD, bias_HTT, other, part, number == layers.back() ? tokens_BQ : torch::Tensor());
    if (std::ranges::binary_search(layers, number)) found.push_back(x_BTD);
  }
  return found;
}

std::vector<torch::Tensor> ViTImpl::attention(const torch::Tensor& images_BCHW, const std::vector<int64_t>& layers) {
  check_layers(layers);
  const torch::NoGradGuard no_grad;
  const Grid grid = this->grid(images_BCHW);
  const auto other = other_grid(grid);
  const auto bias_HTT = shared_bias(other);
  auto x_BTD = embed(patch_embed_->forward(images_BCHW), grid);
  std::vector<torch::Tensor> found;
  for (int64_t number = 1; number <= layers.back(); ++number) {
    auto& block = blocks_->at<BlockImpl>(static_cast<size_t>(number - 1));
    if (std::ranges::binary_search(layers, number)) found.push_back(block.attention(x_BTD, bias_HTT, other));
    if (number < layers.back()) x_BTD = block.forward(x_BTD, bias_HTT, other);
  }
  return found;
}

}  // namespace beit

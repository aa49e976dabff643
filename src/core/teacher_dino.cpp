#include "core/teacher_dino.h"

#include "base/error.h"
#include "core/normalise.h"
#include "core/regrid.h"

namespace beit {
namespace {

constexpr std::string_view kWhat = "dino teacher";

class DinoAttentionImpl : public torch::nn::Module {
 public:
  DinoAttentionImpl(int64_t width, int64_t heads)
      : heads_(heads),
        qkv_(register_module("qkv", torch::nn::Linear(width, 3 * width))),
        proj_(register_module("proj", torch::nn::Linear(width, width))) {}

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1), width = x_BTD.size(2);
    const auto qkv = qkv_->forward(x_BTD).view({images, tokens, 3, heads_, width / heads_});
    const auto parts = qkv.permute({2, 0, 3, 1, 4}).unbind(0);
    const auto y_BHTd = attend(parts[0], parts[1], parts[2], {});
    return proj_->forward(y_BHTd.transpose(1, 2).reshape({images, tokens, width}));
  }

 private:
  int64_t heads_;
  torch::nn::Linear qkv_ = nullptr, proj_ = nullptr;
};
TORCH_MODULE(DinoAttention);

class DinoBlockImpl : public torch::nn::Module {
 public:
  explicit DinoBlockImpl(const ViTOptions& options)
      : norm1_(register_module("norm1", layer_norm(options.width))),
        attn_(register_module("attn", DinoAttention(options.width, options.heads))),
        norm2_(register_module("norm2", layer_norm(options.width))),
        mlp_(register_module("mlp", Mlp(options.width, 4 * options.width))) {}

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    const auto y_BTD = x_BTD + attn_->forward(norm1_->forward(x_BTD));
    return y_BTD + mlp_->forward(norm2_->forward(y_BTD));
  }

 private:
  torch::nn::LayerNorm norm1_ = nullptr;
  DinoAttention attn_ = nullptr;
  torch::nn::LayerNorm norm2_ = nullptr;
  Mlp mlp_ = nullptr;
};
TORCH_MODULE(DinoBlock);

}  // namespace

ViTOptions dino_options(const NamedTensors& tower, int64_t heads) {
  const auto& proj = tower_tensor(tower, "patch_embed.proj.weight", 4, kWhat);
  const int64_t side = square_grid_side(tower_tensor(tower, "pos_embed", 3, kWhat).size(1), kWhat);
  return {.grid = {.rows = side, .columns = side},
          .patch_size = proj.size(2),
          .width = proj.size(0),
          .depth = count_blocks(tower, "blocks.", kWhat),
          .heads = tower_heads(proj.size(0), heads, kWhat)};
}

DinoVisualImpl::DinoVisualImpl(const ViTOptions& options) {
  cls_token_ = register_parameter("cls_token", torch::zeros({1, 1, options.width}));
  pos_embed_ = register_parameter("pos_embed", torch::zeros({1, options.grid.patches() + 1, options.width}));
  patch_embed_ = register_module("patch_embed", PatchEmbed(options));
  for (int64_t i = 0; i < options.depth; ++i) blocks_->push_back(DinoBlock(options));
  register_module("blocks", blocks_);
  norm_ = register_module("norm", layer_norm(options.width));
}

torch::Tensor DinoVisualImpl::patch_tokens(const torch::Tensor& images_BCHW) {
  const auto patches_BND = patch_embed_->forward(images_BCHW);
  auto x_BTD = torch::cat({cls_token_.expand({patches_BND.size(0), -1, -1}), patches_BND}, 1) + pos_embed_;
  for (const auto& block : *blocks_) x_BTD = block->as<DinoBlockImpl>()->forward(x_BTD);
  return norm_->forward(x_BTD.slice(1, 1));
}

DinoTeacher::DinoTeacher(const TeacherOptions& options, const Grid& student_grid, const NamedTensors& file)
    : student_grid_(student_grid) {
  auto tower = tower_weights(file, "cls_token", kWhat);
  options_ = dino_options(tower, options.heads);
  const Grid own = options_.grid;
  options_.grid = teacher_grid(options.image_size, options_.patch_size, own, student_grid);
  auto& positions = tower.at("pos_embed");
  positions = resize_positions(positions, own, options_.grid);
  network_ = DinoVisual(options_);
  copy_weights(*network_, tower, kWhat);
  freeze(*network_);
}

torch::Tensor DinoTeacher::target(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  const Grid& grid = options_.grid;
  const auto input = resize_images(images_BCHW, grid.rows * options_.patch_size, grid.columns * options_.patch_size);
  const auto map_BND = network_->patch_tokens(normalise(input, kImagenetMean, kImagenetStd)).to(torch::kFloat32);
  return resize_map(map_BND, grid, student_grid_);
}

}  // namespace beit

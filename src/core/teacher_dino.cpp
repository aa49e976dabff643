#include "core/teacher_dino.h"

#include "base/error.h"
#include "core/init.h"
#include "core/linear.h"
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

  torch::Tensor forward(const torch::Tensor& x_BTD) { return linear(attend({linear(x_BTD, qkv_)}, heads_), proj_); }

 private:
  int64_t heads_;
  torch::nn::Linear qkv_ = nullptr, proj_ = nullptr;
};
TORCH_MODULE(DinoAttention);

/// Two linear layers in one, the SiLU of the first half times the second, and a linear layer.
class SwiGluImpl : public torch::nn::Module {
 public:
  SwiGluImpl(int64_t width, int64_t hidden)
      : w12_(register_module("w12", torch::nn::Linear(width, 2 * hidden))),
        w3_(register_module("w3", torch::nn::Linear(hidden, width))) {}

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    const auto halves = w12_->forward(x_BTD).chunk(2, -1);
    return w3_->forward(torch::silu(halves[0]) * halves[1]);
  }

 private:
  torch::nn::Linear w12_ = nullptr, w3_ = nullptr;
};
TORCH_MODULE(SwiGlu);

class DinoBlockImpl : public torch::nn::Module {
 public:
  explicit DinoBlockImpl(const DinoOptions& options) {
    const int64_t width = options.width, hidden = options.hidden;
    norm1_ = register_module("norm1", layer_norm(width));
    attn_ = register_module("attn", DinoAttention(width, options.heads));
    norm2_ = register_module("norm2", layer_norm(width));
    mlp_ = options.swiglu ? torch::nn::AnyModule(SwiGlu(width, hidden)) : torch::nn::AnyModule(Mlp(width, hidden));
    register_module("mlp", mlp_.ptr());
    if (options.layer_scale) {
      ls1_D_ = register_module("ls1", std::make_shared<torch::nn::Module>())
                   ->register_parameter("gamma", torch::ones({width}));
      ls2_D_ = register_module("ls2", std::make_shared<torch::nn::Module>())
                   ->register_parameter("gamma", torch::ones({width}));
    }
  }

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    const auto y_BTD = add(x_BTD, attn_->forward(norm1_->forward(x_BTD)), ls1_D_);
    return add(y_BTD, mlp_.forward(norm2_->forward(y_BTD)), ls2_D_);
  }

 private:
  static torch::Tensor add(const torch::Tensor& x_BTD, const torch::Tensor& branch_BTD, const torch::Tensor& scale_D) {
    return scale_D.defined() ? torch::addcmul(x_BTD, branch_BTD, scale_D) : x_BTD + branch_BTD;
  }

  torch::nn::LayerNorm norm1_ = nullptr, norm2_ = nullptr;
  DinoAttention attn_ = nullptr;
  torch::nn::AnyModule mlp_;
  torch::Tensor ls1_D_, ls2_D_;
};
TORCH_MODULE(DinoBlock);

}  // namespace

DinoOptions dino_options(const NamedTensors& tower, int64_t heads) {
  const auto& proj = tower_tensor(tower, "patch_embed.proj.weight", 4, kWhat);
  const int64_t side = square_grid_side(tower_tensor(tower, "pos_embed", 3, kWhat).size(1), kWhat);
  const bool swiglu = tower.contains("blocks.0.mlp.w12.weight");
  const auto* const last = swiglu ? "blocks.0.mlp.w3.weight" : "blocks.0.mlp.fc2.weight";
  return {.grid = {.rows = side, .columns = side},
          .patch_size = proj.size(2),
          .width = proj.size(0),
          .depth = count_blocks(tower, "blocks.", kWhat),
          .heads = tower_heads(proj.size(0), heads, kWhat),
          .hidden = tower_tensor(tower, last, 2, kWhat).size(1),
          .registers = tower.contains("register_tokens") ? tower_tensor(tower, "register_tokens", 3, kWhat).size(1) : 0,
          .layer_scale = tower.contains("blocks.0.ls1.gamma"),
          .swiglu = swiglu};
}

DinoVisualImpl::DinoVisualImpl(const DinoOptions& options) {
  cls_token_ = register_parameter("cls_token", torch::zeros({1, 1, options.width}));
  pos_embed_ = register_parameter("pos_embed", torch::zeros({1, options.grid.patches() + 1, options.width}));
  if (options.registers > 0) {
    register_tokens_ = register_parameter("register_tokens", torch::zeros({1, options.registers, options.width}));
  }
  patch_embed_ = register_module(
      "patch_embed",
      PatchEmbed(ViTOptions{.grid = options.grid, .patch_size = options.patch_size, .width = options.width}));
  for (int64_t i = 0; i < options.depth; ++i) blocks_->push_back(DinoBlock(options));
  register_module("blocks", blocks_);
  norm_ = register_module("norm", layer_norm(options.width));
}

torch::Tensor DinoVisualImpl::patch_tokens(const torch::Tensor& images_BCHW) {
  const auto patches_BND = patch_embed_->forward(images_BCHW);
  const int64_t images = patches_BND.size(0), patches = patches_BND.size(1);
  auto x_BTD = torch::cat({cls_token_.expand({images, -1, -1}), patches_BND}, 1) + pos_embed_;
  if (register_tokens_.defined()) {
    x_BTD = torch::cat({x_BTD.slice(1, 0, 1), register_tokens_.expand({images, -1, -1}), x_BTD.slice(1, 1)}, 1);
  }
  for (const auto& block : *blocks_) x_BTD = block->as<DinoBlockImpl>()->forward(x_BTD);
  return norm_->forward(x_BTD.slice(1, -patches));
}

DinoTeacher::DinoTeacher(const TeacherOptions& options, const Grid& student_grid, const NamedTensors& file)
    : student_grid_(student_grid) {
  auto tower = tower_weights(file, "cls_token", kWhat);
  tower.erase("mask_token");  // of DINOv2's own training
  options_ = dino_options(tower, options.heads);
  const Grid own = options_.grid;
  options_.grid = teacher_grid(options.image_size, options_.patch_size, own, student_grid);
  auto& positions = tower.at("pos_embed");
  positions = resize_positions(positions.to(torch::kFloat32), own, options_.grid, /*antialias=*/options_.registers > 0);
  network_ = without_initial_values([&] { return DinoVisual(options_); });
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

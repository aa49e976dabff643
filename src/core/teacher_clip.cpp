#include "core/teacher_clip.h"

#include "base/error.h"
#include "core/attention.h"
#include "core/init.h"
#include "core/linear.h"
#include "core/normalise.h"
#include "core/regrid.h"

namespace beit {
namespace {

constexpr std::string_view kWhat = "clip teacher";

torch::nn::LayerNorm clip_norm(int64_t width) { return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})); }

class ClipAttentionImpl : public torch::nn::Module {
 public:
  ClipAttentionImpl(int64_t width, int64_t heads) : heads_(heads) {
    in_proj_weight_ = register_parameter("in_proj_weight", torch::zeros({3 * width, width}));
    in_proj_bias_ = register_parameter("in_proj_bias", torch::zeros({3 * width}));
    out_proj_ = register_module("out_proj", torch::nn::Linear(width, width));
  }

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    return linear(attend({linear(x_BTD, in_proj_weight_, in_proj_bias_)}, heads_), out_proj_);
  }

 private:
  int64_t heads_;
  torch::Tensor in_proj_weight_, in_proj_bias_;
  torch::nn::Linear out_proj_ = nullptr;
};
TORCH_MODULE(ClipAttention);

class ClipMlpImpl : public torch::nn::Module {
 public:
  explicit ClipMlpImpl(int64_t width)
      : c_fc_(register_module("c_fc", torch::nn::Linear(width, 4 * width))),
        c_proj_(register_module("c_proj", torch::nn::Linear(4 * width, width))) {}

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    const auto hidden = linear(x_BTD, c_fc_);
    return linear(hidden * torch::sigmoid(1.702 * hidden), c_proj_);  // QuickGELU
  }

 private:
  torch::nn::Linear c_fc_ = nullptr, c_proj_ = nullptr;
};
TORCH_MODULE(ClipMlp);

class ClipBlockImpl : public torch::nn::Module {
 public:
  ClipBlockImpl(int64_t width, int64_t heads)
      : ln_1_(register_module("ln_1", clip_norm(width))),
        attn_(register_module("attn", ClipAttention(width, heads))),
        ln_2_(register_module("ln_2", clip_norm(width))),
        mlp_(register_module("mlp", ClipMlp(width))) {}

  torch::Tensor forward(const torch::Tensor& x_BTD) {
    const auto y_BTD = x_BTD + attn_->forward(ln_1_->forward(x_BTD));
    return y_BTD + mlp_->forward(ln_2_->forward(y_BTD));
  }

 private:
  torch::nn::LayerNorm ln_1_ = nullptr;
  ClipAttention attn_ = nullptr;
  torch::nn::LayerNorm ln_2_ = nullptr;
  ClipMlp mlp_ = nullptr;
};
TORCH_MODULE(ClipBlock);

}  // namespace

ClipOptions clip_options(const NamedTensors& tower, int64_t heads) {
  const auto& conv1 = tower_tensor(tower, "conv1.weight", 4, kWhat);
  const int64_t side = square_grid_side(tower_tensor(tower, "positional_embedding", 2, kWhat).size(0), kWhat);
  return {.grid = {.rows = side, .columns = side},
          .patch_size = conv1.size(2),
          .width = conv1.size(0),
          .depth = count_blocks(tower, "transformer.resblocks.", kWhat),
          .heads = tower_heads(conv1.size(0), heads, kWhat),
          .output = tower_tensor(tower, "proj", 2, kWhat).size(1)};
}

ClipVisualImpl::ClipVisualImpl(const ClipOptions& options) {
  const int64_t width = options.width;
  conv1_ = register_module(
      "conv1",
      torch::nn::Conv2d(torch::nn::Conv2dOptions(3, width, options.patch_size).stride(options.patch_size).bias(false)));
  class_embedding_D_ = register_parameter("class_embedding", torch::zeros({width}));
  positional_embedding_TD_ =
      register_parameter("positional_embedding", torch::zeros({options.grid.patches() + 1, width}));
  ln_pre_ = register_module("ln_pre", clip_norm(width));
  for (int64_t i = 0; i < options.depth; ++i) resblocks_->push_back(ClipBlock(width, options.heads));
  auto transformer = std::make_shared<torch::nn::Module>();
  transformer->register_module("resblocks", resblocks_.ptr());
  register_module("transformer", transformer);
  ln_post_ = register_module("ln_post", clip_norm(width));
  proj_DF_ = register_parameter("proj", torch::zeros({width, options.output}));
}

torch::Tensor ClipVisualImpl::patch_tokens(const torch::Tensor& images_BCHW) {
  const auto patches_BND = conv1_->forward(images_BCHW).flatten(2).transpose(1, 2);
  const auto cls_B1D = class_embedding_D_.expand({patches_BND.size(0), 1, -1});
  auto x_BTD = ln_pre_->forward(torch::cat({cls_B1D, patches_BND}, 1) + positional_embedding_TD_);
  for (const auto& block : *resblocks_) x_BTD = block->as<ClipBlockImpl>()->forward(x_BTD);
  return torch::matmul(ln_post_->forward(x_BTD.slice(1, 1)), proj_DF_);
}

ClipTeacher::ClipTeacher(const TeacherOptions& options, const Grid& student_grid, const NamedTensors& file)
    : student_grid_(student_grid) {
  auto tower = tower_weights(file, "class_embedding", kWhat);
  options_ = clip_options(tower, options.heads);
  const Grid own = options_.grid;
  options_.grid = teacher_grid(options.image_size, options_.patch_size, own, student_grid);
  auto& positions = tower.at("positional_embedding");
  positions = resize_positions(positions.to(torch::kFloat32).unsqueeze(0), own, options_.grid).squeeze(0);
  network_ = without_initial_values([&] { return ClipVisual(options_); });
  copy_weights(*network_, tower, kWhat);
  freeze(*network_);
}

torch::Tensor ClipTeacher::target(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  const Grid& grid = options_.grid;
  const auto input = resize_images(images_BCHW, grid.rows * options_.patch_size, grid.columns * options_.patch_size);
  const auto map_BNF = network_->patch_tokens(normalise(input, kClipMean, kClipStd)).to(torch::kFloat32);
  return resize_map(map_BNF, grid, student_grid_);
}

}  // namespace beit

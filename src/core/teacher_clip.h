// CLIP's image tower as teacher: the paper's main choice (section 2.2; Radford et al. 2021, ViT form).
// Shape letters: B images, N patches, T = N + 1 tokens (CLS first), D width of a token, H heads, F width of the target.
#pragma once

#include <torch/torch.h>

#include "core/teacher.h"
#include "core/tower_weights.h"

namespace beit {

struct ClipOptions {
  Grid grid;                ///< patches of an image
  int64_t patch_size = 16;  ///< pixels
  int64_t width = 768;      ///< D
  int64_t depth = 12;       ///< blocks
  int64_t heads = 12;       ///< H
  int64_t output = 512;     ///< F, of the space that images and texts share
};

/// What the shapes of a tower's tensors say; `heads` 0: width / 64. Error where they are another network's.
ClipOptions clip_options(const NamedTensors& tower, int64_t heads = 0);

/// Names in files: those of the original checkpoint without `visual.`: conv1.weight, class_embedding,
/// positional_embedding, ln_pre.*,
/// transformer.resblocks.N.{ln_1,attn.in_proj_*,attn.out_proj,ln_2,mlp.c_fc,mlp.c_proj}.*, ln_post.*, proj.
class ClipVisualImpl : public torch::nn::Module {
 public:
  explicit ClipVisualImpl(const ClipOptions& options);

  /// Images standardised with CLIP's mean and deviation, grid times patch large, to [B, N, F]: the patch tokens after
  /// `ln_post`, times `proj`.
  torch::Tensor patch_tokens(const torch::Tensor& images_BCHW);

 private:
  torch::nn::Conv2d conv1_ = nullptr;
  torch::Tensor class_embedding_D_, positional_embedding_TD_, proj_DF_;
  torch::nn::LayerNorm ln_pre_ = nullptr, ln_post_ = nullptr;
  torch::nn::ModuleList resblocks_;
};
TORCH_MODULE(ClipVisual);

class ClipTeacher : public Teacher {
 public:
  ClipTeacher(const TeacherOptions& options, const Grid& student_grid, const NamedTensors& file);
  torch::Tensor target(const torch::Tensor& images_BCHW) override;
  int64_t width() const override { return options_.output; }
  void to(const torch::Device& device) override { network_->to(device); }

 private:
  Grid student_grid_;
  ClipOptions options_;
  ClipVisual network_ = nullptr;
};

}  // namespace beit

// A DINO vision transformer as teacher (paper, section 3.4; Caron et al. 2021).
// Shape letters: B images, N patches, T = N + 1 tokens (CLS first), D width.
#pragma once

#include <torch/torch.h>

#include "core/block.h"
#include "core/patch_embed.h"
#include "core/teacher.h"
#include "core/tower_weights.h"

namespace beit {

/// What the shapes of a tower's tensors say; `heads` 0: width / 64. Error where they are another network's.
ViTOptions dino_options(const NamedTensors& tower, int64_t heads = 0);

/// Unlike the method's own networks: query, key and value with bias, no layer scale, no relative positions.
/// Names in files: cls_token, pos_embed, patch_embed.proj.*,
/// blocks.N.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}.*, norm.*.
class DinoVisualImpl : public torch::nn::Module {
 public:
  explicit DinoVisualImpl(const ViTOptions& options);

  /// Images standardised with ImageNet's mean and deviation, grid times patch large, to [B, N, D]: the patch tokens
  /// after `norm`.
  torch::Tensor patch_tokens(const torch::Tensor& images_BCHW);

 private:
  torch::Tensor cls_token_, pos_embed_;
  PatchEmbed patch_embed_ = nullptr;
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm norm_ = nullptr;
};
TORCH_MODULE(DinoVisual);

class DinoTeacher : public Teacher {
 public:
  DinoTeacher(const TeacherOptions& options, const Grid& student_grid, const NamedTensors& file);
  torch::Tensor target(const torch::Tensor& images_BCHW) override;
  int64_t width() const override { return options_.width; }
  void to(const torch::Device& device) override { network_->to(device); }

 private:
  Grid student_grid_;
  ViTOptions options_;
  DinoVisual network_ = nullptr;
};

}  // namespace beit

// A DINO or DINOv2 vision transformer as teacher (paper, section 3.4; Caron et al. 2021, Oquab et al. 2023; registers:
// Darcet et al. 2023).
// Shape letters: B images, N patches, R registers, T = 1 + R + N tokens (CLS first), D width.
#pragma once

#include <torch/torch.h>

#include "core/block.h"
#include "core/patch_embed.h"
#include "core/teacher.h"
#include "core/tower_weights.h"

namespace beit {

struct DinoOptions {
  Grid grid;                 ///< patches of an image
  int64_t patch_size = 16;   ///< pixels
  int64_t width = 768;       ///< D
  int64_t depth = 12;        ///< blocks
  int64_t heads = 12;        ///< divides the width
  int64_t hidden = 3072;     ///< of the MLP
  int64_t registers = 0;     ///< R
  bool layer_scale = false;  ///< DINOv2
  bool swiglu = false;       ///< the MLP is gated: DINOv2's giant
};

/// What the names and shapes of a tower's tensors say; `heads` 0: width / 64. Error where they are another network's.
DinoOptions dino_options(const NamedTensors& tower, int64_t heads = 0);

/// Unlike the method's own networks: query, key and value with bias, no relative positions; registers have no position.
/// Names in files: cls_token, pos_embed, register_tokens, patch_embed.proj.*,
/// blocks.N.{norm1,attn.qkv,attn.proj,ls1,norm2,mlp.fc1,mlp.fc2,mlp.w12,mlp.w3,ls2}.*, norm.*.
class DinoVisualImpl : public torch::nn::Module {
 public:
  explicit DinoVisualImpl(const DinoOptions& options);

  /// Images standardised with ImageNet's mean and deviation, grid times patch large, to [B, N, D]: the patch tokens
  /// after `norm`.
  torch::Tensor patch_tokens(const torch::Tensor& images_BCHW);

 private:
  torch::Tensor cls_token_, pos_embed_, register_tokens_;  // no registers: undefined
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
  DinoOptions options_;
  DinoVisual network_ = nullptr;
};

}  // namespace beit

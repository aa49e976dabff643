// Patch embedding: a convolution whose kernel and stride are the patch.
// Shape letters: B images, C channels, H height, W width, N patches, D width of a token.
#pragma once

#include <torch/torch.h>

#include "core/vit_options.h"

namespace beit {

/// [B, C, H, W] to [B, N, D], patches row by row. Names in files: proj.weight, proj.bias.
/// Error where a side of the pictures is no multiple of the patch.
class PatchEmbedImpl : public torch::nn::Module {
 public:
  explicit PatchEmbedImpl(const ViTOptions& options);
  torch::Tensor forward(const torch::Tensor& images_BCHW);

  /// The patches of such images.
  Grid grid(const torch::Tensor& images_BCHW) const;

 private:
  int64_t patch_size_, channels_;
  torch::nn::Conv2d proj_ = nullptr;
};
TORCH_MODULE(PatchEmbed);

}  // namespace beit

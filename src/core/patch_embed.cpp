#include "core/patch_embed.h"

#include "base/error.h"

namespace beit {

PatchEmbedImpl::PatchEmbedImpl(const ViTOptions& options)
    : grid_(options.grid), patch_size_(options.patch_size), channels_(options.channels) {
  const auto convolution =
      torch::nn::Conv2dOptions(options.channels, options.width, options.patch_size).stride(options.patch_size);
  proj_ = register_module("proj", torch::nn::Conv2d(convolution));
}

torch::Tensor PatchEmbedImpl::forward(const torch::Tensor& images_BCHW) {
  const int64_t height = grid_.rows * patch_size_, width = grid_.columns * patch_size_;
  require(images_BCHW.dim() == 4 && images_BCHW.size(1) == channels_ && images_BCHW.size(2) == height &&
              images_BCHW.size(3) == width,
          "patch embedding: expected images [B, {}, {}, {}], got [{}]; set --image-size and --patch-size as the model "
          "has them",
          channels_, height, width, fmt::join(images_BCHW.sizes(), ", "));
  // Kernel equals stride, so the convolution is one matrix product over the patches' pixels.
  const int64_t images = images_BCHW.size(0), p = patch_size_;
  const auto pixels = images_BCHW.reshape({images, channels_, grid_.rows, p, grid_.columns, p})
                          .permute({0, 2, 4, 1, 3, 5})
                          .reshape({images, grid_.patches(), channels_ * p * p});
  return torch::linear(pixels, proj_->weight.flatten(1), proj_->bias);
}

}  // namespace beit

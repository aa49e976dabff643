#include "core/patch_embed.h"

#include "base/error.h"
#include "core/linear.h"

namespace beit {

PatchEmbedImpl::PatchEmbedImpl(const ViTOptions& options)
    : patch_size_(options.patch_size), channels_(options.channels) {
  const auto convolution =
      torch::nn::Conv2dOptions(options.channels, options.width, options.patch_size).stride(options.patch_size);
  proj_ = register_module("proj", torch::nn::Conv2d(convolution));
}

Grid PatchEmbedImpl::grid(const torch::Tensor& images_BCHW) const {
  const int64_t p = patch_size_;
  require(
      images_BCHW.dim() == 4 && images_BCHW.size(1) == channels_ && images_BCHW.size(2) >= p &&
          images_BCHW.size(3) >= p && images_BCHW.size(2) % p == 0 && images_BCHW.size(3) % p == 0,
      "patch embedding: expected images [B, {}, H, W] whose sides are multiples of {}, got [{}]; resize or crop them, "
      "or set --patch-size as the model has it",
      channels_, p, fmt::join(images_BCHW.sizes(), ", "));
  return {.rows = images_BCHW.size(2) / p, .columns = images_BCHW.size(3) / p};
}

torch::Tensor PatchEmbedImpl::forward(const torch::Tensor& images_BCHW) {
  const auto [rows, columns] = grid(images_BCHW);
  // Kernel equals stride, so the convolution is one matrix product over the patches' pixels.
  const int64_t images = images_BCHW.size(0), p = patch_size_;
  const auto pixels = images_BCHW.reshape({images, channels_, rows, p, columns, p})
                          .permute({0, 2, 4, 1, 3, 5})
                          .reshape({images, rows * columns, channels_ * p * p});
  return linear(pixels, proj_->weight.flatten(1), proj_->bias);
}

}  // namespace beit

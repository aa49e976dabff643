#include "core/pixel_decoder.h"

#include "base/error.h"
#include "core/full_precision.h"
#include "core/image_quality.h"
#include "core/init.h"
#include "core/linear.h"

namespace beit {
namespace {

/// The transformer sees the map of codes as a picture whose patches are single pixels.
ViTOptions tower(const PixelDecoderOptions& options) {
  ViTOptions vit = options.vit;
  vit.patch_size = 1;
  vit.channels = options.code_width;
  return vit;
}

}  // namespace

PixelDecoderImpl::PixelDecoderImpl(const PixelDecoderOptions& options) : options_(options) {
  const int64_t patch = options.vit.patch_size;
  require(options.codes >= 1 && options.code_width >= 1 && patch >= 1,
          "pixel decoder: expected at least one code of width 1 and patches of 1 pixel, got {} of {} and {}",
          options.codes, options.code_width, patch);
  const auto quantize = register_module("quantize", std::make_shared<torch::nn::Module>());
  const auto embedding = quantize->register_module("embedding", std::make_shared<torch::nn::Module>());
  codebook_KC_ = embedding->register_buffer("weight", torch::zeros({options.codes, options.code_width}));
  decoder_ = register_module("decoder", ViT(tower(options), FinalNorm::kPatches));
  decode_pixels_ = register_module("decode_pixels", torch::nn::Linear(options.vit.width, 3 * patch * patch));
  const InitOptions start;
  trunc_normal_(decode_pixels_->weight, start.std, start.cut);
  torch::nn::init::zeros_(decode_pixels_->bias);
}

torch::Tensor PixelDecoderImpl::forward(const torch::Tensor& ids_BN, const std::optional<Grid>& grid) {
  const auto [rows, columns] = grid.value_or(options_.vit.grid);
  require(ids_BN.dim() == 2 && ids_BN.size(1) == rows * columns,
          "pixel decoder: expected codes [B, {}] for {}x{} patches, got [{}]; give the images' grid", rows * columns,
          rows, columns, fmt::join(ids_BN.sizes(), ", "));
  const int64_t images = ids_BN.size(0), patch = options_.vit.patch_size;
  const auto codes_BNC =
      codebook_KC_.index_select(0, ids_BN.flatten()).view({images, rows * columns, options_.code_width});
  const auto tokens_BND = decoder_->patch_tokens(codes_BNC.transpose(1, 2).unflatten(2, {rows, columns}));
  const FullPrecision full_precision;
  const auto pixels = linear(at_least_float32(tokens_BND), decode_pixels_);
  return (pixels + 1)
      .div(2)
      .reshape({images, rows, columns, patch, patch, 3})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({images, 3, rows * patch, columns * patch});
}

torch::Tensor PixelDecoderImpl::reconstruct(const torch::Tensor& ids_BN, const std::optional<Grid>& grid) {
  const torch::NoGradGuard no_grad;
  return forward(ids_BN, grid).clamp(0, 1);
}

PixelLoss PixelDecoderImpl::loss(const torch::Tensor& ids_BN, const torch::Tensor& images_BCHW) {
  const int64_t patch = options_.vit.patch_size;
  require(images_BCHW.dim() == 4 && images_BCHW.size(1) == 3 && images_BCHW.size(2) % patch == 0 &&
              images_BCHW.size(3) % patch == 0,
          "pixel decoder: expected images [B, 3, H, W] whose sides are multiples of {}, got [{}]", patch,
          fmt::join(images_BCHW.sizes(), ", "));
  const auto decoded_BCHW = forward(ids_BN, Grid{images_BCHW.size(2) / patch, images_BCHW.size(3) / patch});
  const FullPrecision full_precision;
  const auto difference_BCHW = decoded_BCHW - images_BCHW.to(decoded_BCHW.scalar_type());
  const auto squared_B = difference_BCHW.square().flatten(1).mean(1);
  return {.total = squared_B.mean(),
          .absolute = difference_BCHW.detach().abs().mean(),
          .psnr = psnr(squared_B.detach()).mean()};
}

void PixelDecoderImpl::set_codebook(const torch::Tensor& codes_KC) {
  require(codes_KC.sizes() == codebook_KC_.sizes(), "pixel decoder: expected a codebook [{}], got [{}]",
          fmt::join(codebook_KC_.sizes(), ", "), fmt::join(codes_KC.sizes(), ", "));
  const torch::NoGradGuard no_grad;
  codebook_KC_.copy_(codes_KC);
}

}  // namespace beit

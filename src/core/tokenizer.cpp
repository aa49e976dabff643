#include "core/tokenizer.h"

#include "base/error.h"

namespace beit {
namespace {

torch::nn::Sequential task_layer(int64_t width, int64_t out) {
  torch::nn::Sequential layer(torch::nn::Linear(width, width), torch::nn::Tanh(), torch::nn::Linear(width, out));
  init_linear_layers(*layer, {});
  return layer;
}

/// The decoder sees the map of code vectors as a picture whose patches are single pixels.
ViTOptions decoder_options(const TokenizerOptions& options) {
  return {.grid = options.encoder.grid,
          .patch_size = 1,
          .channels = options.quantizer.width,
          .width = options.decoder_width,
          .depth = options.decoder_depth,
          .heads = options.decoder_heads,
          .mlp_ratio = options.encoder.mlp_ratio};
}

}  // namespace

TokenizerImpl::TokenizerImpl(const TokenizerOptions& options, Ranks ranks) : options_(options) {
  encoder_ = register_module("encoder", ViT(options.encoder, FinalNorm::kPatches));
  decoder_ = register_module("decoder", ViT(decoder_options(options), FinalNorm::kPatches));
  quantize_ = register_module("quantize", Quantizer(options.quantizer, std::move(ranks)));
  encode_task_layer_ = register_module("encode_task_layer", task_layer(options.encoder.width, options.quantizer.width));
  decode_task_layer_ = register_module("decode_task_layer", task_layer(options.decoder_width, options.target_width));
}

Quantized TokenizerImpl::encode(const torch::Tensor& images_BCHW) {
  const auto seen_BCHW = normalise(images_BCHW, options_.input);
  return quantize_->forward(encode_task_layer_->forward(encoder_->patch_tokens(seen_BCHW).to(torch::kFloat32)));
}

torch::Tensor TokenizerImpl::codes(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  return encode(images_BCHW).ids_BN;
}

torch::Tensor TokenizerImpl::decode(const torch::Tensor& codes_BNC, const std::optional<Grid>& grid) {
  const auto [rows, columns] = grid.value_or(options_.encoder.grid);
  require(codes_BNC.dim() == 3 && codes_BNC.size(1) == rows * columns,
          "tokenizer: expected code vectors [B, {}, C] for {}x{} patches, got [{}]; give decode() the images' grid",
          rows * columns, rows, columns, fmt::join(codes_BNC.sizes(), ", "));
  const auto map_BCHW = codes_BNC.transpose(1, 2).unflatten(2, {rows, columns});
  return decode_task_layer_->forward(decoder_->patch_tokens(map_BCHW));
}

VqkdLoss TokenizerImpl::forward(const torch::Tensor& images_BCHW, const torch::Tensor& target_BNF) {
  const Grid grid = encoder_->grid(images_BCHW);
  require(target_BNF.dim() == 3 && target_BNF.size(1) == grid.patches() && target_BNF.size(2) == options_.target_width,
          "tokenizer: expected the teacher's features as [B, {}, {}], got [{}]; the teacher's grid and width must be "
          "the tokenizer's",
          grid.patches(), options_.target_width, fmt::join(target_BNF.sizes(), ", "));
  const auto quantized = encode(images_BCHW);
  VqkdLoss loss;
  loss.reconstruction = (1 - torch::cosine_similarity(decode(quantized.codes_BND, grid), target_BNF, -1)).mean();
  loss.commitment = quantized.loss;
  loss.total = loss.reconstruction + loss.commitment;
  loss.ids_BN = quantized.ids_BN;
  return loss;
}

}  // namespace beit

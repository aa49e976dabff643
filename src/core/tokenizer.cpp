#include "core/tokenizer.h"

#include <mutex>

#include "base/error.h"
#include "core/full_precision.h"

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

torch::Tensor TokenizerImpl::vectors(const torch::Tensor& images_BCHW, const StepPart& part,
                                     const torch::Tensor& tokens_BQ) {
  const auto tokens_BND = encoder_->patch_tokens(normalise(images_BCHW, options_.input), part, tokens_BQ);
  const FullPrecision full_precision;
  return encode_task_layer_->forward(at_least_float32(tokens_BND));
}

Quantized TokenizerImpl::encode(const torch::Tensor& images_BCHW, const StepPart& part) {
  return quantize_->forward(vectors(images_BCHW, part), part);
}

void TokenizerImpl::stage_start(const std::vector<torch::Tensor>& images, const std::vector<StepPart>& parts) {
  require(!images.empty() && images.size() == parts.size() && is_training(),
          "tokenizer: expected the images of at least one part in train(), got {} batches for {} parts in {}; give "
          "those of "
          "the whole step",
          images.size(), parts.size(), is_training() ? "train()" : "eval()");
  const torch::NoGradGuard no_grad;
  auto generator = at::globalContext().defaultGenerator(images.front().device());
  torch::Tensor start;
  {
    const std::scoped_lock lock(generator.mutex());
    start = generator.get_state();
  }
  std::vector<torch::Tensor> vectors, samples;
  for (size_t i = 0; i < images.size(); ++i) {
    require(parts[i].samples == parts[0].samples, "tokenizer: expected parts of one step, got {} and {} samples",
            parts[0].samples, parts[i].samples);
    if (i > 0) {  // each part draws for the whole step
      const std::scoped_lock lock(generator.mutex());
      generator.set_state(start);
    }
    vectors.push_back(this->vectors(images[i], parts[i]));
    if (parts[i].samples > 0) samples.push_back(parts[i].samples_B);
  }
  StepPart all;
  all.samples = parts[0].samples;
  if (all.samples > 0) all.samples_B = torch::cat(samples);
  quantize_->stage_start(torch::cat(vectors), all);
}

void TokenizerImpl::set_recompute(bool on) {
  encoder_->set_recompute(on);
  decoder_->set_recompute(on);
}

torch::Tensor TokenizerImpl::codes(const torch::Tensor& images_BCHW, const torch::Tensor& tokens_BQ) {
  torch::NoGradGuard no_grad;
  return quantize_->forward(vectors(images_BCHW, {}, tokens_BQ)).ids_BN;
}

NearestCodes TokenizerImpl::nearest(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  const auto vectors_BNC = vectors(images_BCHW, {});
  const auto found = quantize_->forward(vectors_BNC);
  const FullPrecision full_precision;
  return {found.ids_BN, torch::cosine_similarity(vectors_BNC, found.codes_BND, -1).clamp(-1, 1)};
}

torch::Tensor TokenizerImpl::masked_codes(const torch::Tensor& images_BCHW, const MaskedTokens& masked) {
  return masked.masked(codes(images_BCHW, masked.tokens_BQ));
}

torch::Tensor TokenizerImpl::decode(const torch::Tensor& codes_BNC, const std::optional<Grid>& grid) {
  const auto [rows, columns] = grid.value_or(options_.encoder.grid);
  require(codes_BNC.dim() == 3 && codes_BNC.size(1) == rows * columns,
          "tokenizer: expected code vectors [B, {}, C] for {}x{} patches, got [{}]; give decode() the images' grid",
          rows * columns, rows, columns, fmt::join(codes_BNC.sizes(), ", "));
  const auto map_BCHW = codes_BNC.transpose(1, 2).unflatten(2, {rows, columns});
  return decode_task_layer_->forward(decoder_->patch_tokens(map_BCHW));
}

VqkdLoss TokenizerImpl::forward(const torch::Tensor& images_BCHW, const torch::Tensor& target_BNF,
                                const StepPart& part) {
  const Grid grid = encoder_->grid(images_BCHW);
  require(target_BNF.dim() == 3 && target_BNF.size(1) == grid.patches() && target_BNF.size(2) == options_.target_width,
          "tokenizer: expected the teacher's features as [B, {}, {}], got [{}]; the teacher's grid and width must be "
          "the tokenizer's",
          grid.patches(), options_.target_width, fmt::join(target_BNF.sizes(), ", "));
  const auto quantized = encode(images_BCHW, part);
  const auto decoded_BNF = decode(quantized.codes_BND, grid);
  const FullPrecision full_precision;
  const auto cosine_BN = torch::cosine_similarity(at_least_float32(decoded_BNF), at_least_float32(target_BNF), -1);
  VqkdLoss loss;
  loss.reconstruction = (1 - cosine_BN).mean();
  loss.commitment = quantized.loss;
  loss.total = loss.reconstruction + loss.commitment;
  loss.ids_BN = quantized.ids_BN;
  return loss;
}

}  // namespace beit

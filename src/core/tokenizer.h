// The visual tokenizer, trained by vector-quantized knowledge distillation (paper, section 2.2).
// Shape letters: B images, N patches, Q tokens asked for, M masked patches of the batch, D width of a token, C width of
// a code, K codes, F width of the teacher's feature.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <vector>

#include "core/masked_tokens.h"
#include "core/normalise.h"
#include "core/quantizer.h"
#include "core/vit.h"

namespace beit {

struct TokenizerOptions {
  ViTOptions encoder;  ///< absolute positions, no layer scale
  int64_t decoder_width = 768;
  int64_t decoder_depth = 3;  ///< published: 1 or 3
  int64_t decoder_heads = 12;
  QuantizerOptions quantizer;
  int64_t target_width = 512;  ///< F: CLIP 512, DINO 768
  InputForm input = InputForm::kDefault;
};

struct VqkdLoss {
  torch::Tensor total;           ///< reconstruction + commitment
  torch::Tensor reconstruction;  ///< mean of 1 - cosine(prediction, target)
  torch::Tensor commitment;
  torch::Tensor ids_BN;  ///< the codes
};

/// What the codebook makes of patches.
struct NearestCodes {
  torch::Tensor ids_BN;         ///< int64 in [0, K): the visual tokens
  torch::Tensor similarity_BN;  ///< cosine of the patch's vector and its code, in [-1, 1]; float32 at least
};

/// Images may have any size whose sides are multiples of the patch, as with the networks inside (core/vit.h).
/// Names in files: encoder.*, encode_task_layer.{0,2}.*, quantize.*, decoder.*, decode_task_layer.{0,2}.*.
class TokenizerImpl : public torch::nn::Module {
 public:
  explicit TokenizerImpl(const TokenizerOptions& options, Ranks ranks = {});

  /// Images [B, 3, height, width] in [0, 1] to codes. The vectors and what becomes of them have at least float32, also
  /// under autocast.
  Quantized encode(const torch::Tensor& images_BCHW, const StepPart& part = {});

  /// What becomes codes: [B, N, C], or [B, Q, C] at `tokens_BQ`, CLS being token 0; not of unit length yet.
  torch::Tensor vectors(const torch::Tensor& images_BCHW, const StepPart& part = {},
                        const torch::Tensor& tokens_BQ = {});

  /// The visual tokens alone, int64 [B, N], without gradient; or those of the tokens `tokens_BQ`, CLS being token 0:
  /// [B, Q].
  torch::Tensor codes(const torch::Tensor& images_BCHW, const torch::Tensor& tokens_BQ = {});

  /// The visual tokens and how near to its code each patch lies, without gradient.
  NearestCodes nearest(const torch::Tensor& images_BCHW);

  /// The visual tokens of masked patches, int64 [M], image by image: what masked image modelling foretells.
  torch::Tensor masked_codes(const torch::Tensor& images_BCHW, const MaskedTokens& masked);
  torch::Tensor masked_codes(const torch::Tensor& images_BCHW, const torch::Tensor& mask_BN) {
    return masked_codes(images_BCHW, masked_tokens(mask_BN, images_BCHW.device()));
  }

  /// Code vectors [B, N, C] to predicted teacher features [B, N, F]. `grid`: of the images, where not the tokenizer's
  /// own.
  torch::Tensor decode(const torch::Tensor& codes_BNC, const std::optional<Grid>& grid = {});

  /// One training step's losses against the teacher's features [B, N, F].
  VqkdLoss forward(const torch::Tensor& images_BCHW, const torch::Tensor& target_BNF, const StepPart& part = {});

  /// The k-means start from a whole step: `images` are those of all of this rank's parts, `parts` say which. Called in
  /// train() before the step's first forward(), where quantizer()->needs_start(); collective. What is drawn for a
  /// sample is what forward() draws with the generator as it stands here; seed it again after.
  void stage_start(const std::vector<torch::Tensor>& images, const std::vector<StepPart>& parts);

  /// Whether the blocks of encoder and decoder compute their activations again in the backward pass.
  void set_recompute(bool on);

  ViT& encoder() { return encoder_; }
  Quantizer& quantizer() { return quantize_; }
  const TokenizerOptions& options() const { return options_; }

 private:
  TokenizerOptions options_;
  ViT encoder_ = nullptr, decoder_ = nullptr;
  Quantizer quantize_ = nullptr;
  torch::nn::Sequential encode_task_layer_ = nullptr, decode_task_layer_ = nullptr;
};
TORCH_MODULE(Tokenizer);

}  // namespace beit

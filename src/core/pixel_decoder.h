// From a tokenizer's codes back to pixels, so that one can see what the codes keep. Not of the paper: there the decoder
// predicts a teacher's features. This one is trained afterwards, on codes that stand still, and changes nothing.
// Shape letters: B images, N patches, K codes, C width of a code, D width of a token, H and W pixels.
#pragma once

#include <torch/torch.h>

#include <optional>

#include "core/vit.h"

namespace beit {

struct PixelDecoderOptions {
  ViTOptions vit;           ///< grid and patches of the pictures; absolute positions
  int64_t codes = 8192;     ///< K
  int64_t code_width = 32;  ///< C
};

struct PixelLoss {
  torch::Tensor total;     ///< mean squared difference of pixels in [0, 1]
  torch::Tensor absolute;  ///< mean absolute difference; without gradient
  torch::Tensor psnr;      ///< mean over the images of each one's, in dB; without gradient
};

/// The codes' vectors go as a map of single pixels through a transformer like a tokenizer's decoder; a linear layer
/// turns each token into its patch's pixels.
///
/// The loss is the squared error: what minimises it is the mean of all images that have these codes. What codes do not
/// tell comes out blurred, and nothing is made up. Absolute differences would give the median, perceptual and
/// adversarial losses one likely picture of many: sharper, but no longer what the codes hold.
///
/// Names in files: quantize.embedding.weight (the tokenizer's codebook, a buffer: it is not trained), decoder.*,
/// decode_pixels.*, whose rows are a patch's pixels in this order: row, column, colour channel. It gives twice the
/// pixel less one.
class PixelDecoderImpl : public torch::nn::Module {
 public:
  explicit PixelDecoderImpl(const PixelDecoderOptions& options);

  /// Codes, whole numbers [B, N] in [0, K), to [B, 3, H, W] in at least float32, also under autocast: about in [0, 1].
  /// `grid`: of the images, where not the decoder's own; positions are resized for it.
  torch::Tensor forward(const torch::Tensor& ids_BN, const std::optional<Grid>& grid = {});

  /// The same as pictures: cut to [0, 1], without gradient.
  torch::Tensor reconstruct(const torch::Tensor& ids_BN, const std::optional<Grid>& grid = {});

  /// A training step's loss against the images that the codes are of, [B, 3, H, W] in [0, 1].
  PixelLoss loss(const torch::Tensor& ids_BN, const torch::Tensor& images_BCHW);

  /// [K, C], the tokenizer's; zeros before. Error for another shape.
  void set_codebook(const torch::Tensor& codes_KC);
  const torch::Tensor& codebook() const { return codebook_KC_; }

  /// Whether the blocks compute their activations again in the backward pass.
  void set_recompute(bool on) { decoder_->set_recompute(on); }

  const PixelDecoderOptions& options() const { return options_; }

 private:
  PixelDecoderOptions options_;
  torch::Tensor codebook_KC_;
  ViT decoder_ = nullptr;
  torch::nn::Linear decode_pixels_ = nullptr;
};
TORCH_MODULE(PixelDecoder);

}  // namespace beit

// The vision transformer that all networks of the method share (paper, section 3.1).
// Shape letters: B images, C channels, N patches, T = N + 1 tokens (CLS first), Q tokens asked for,
// D width, H heads.
#pragma once

#include <torch/torch.h>

#include <deque>
#include <optional>
#include <vector>

#include "core/block.h"
#include "core/init.h"
#include "core/patch_embed.h"
#include "core/rel_pos.h"
#include "core/vit_options.h"

namespace beit {

/// What stands at the end of the network.
enum class FinalNorm {
  kTokens,   ///< `norm` over all tokens: pre-training
  kPatches,  ///< `fc_norm` over patch tokens or their mean: tokenizer and classifier
  kNone,     ///< nothing: maps for dense prediction
};

/// Backbone. Names in files: patch_embed.*, cls_token, pos_embed, rel_pos_bias.*, blocks.N.*; norm.*, fc_norm.* or
/// neither.
///
/// Images may have any size whose sides are multiples of the patch, whatever grid the network was made for: on another
/// grid position embedding and bias tables are resized in each forward pass (core/regrid.h, core/bias_resize.h), as
/// they would be at loading, and gradients flow back to them. What follows from the grids alone is kept for the latest
/// few: passes at another size are not thread-safe.
///
/// `part` says which of a training step's samples the images are (core/step_part.h).
class ViTImpl : public torch::nn::Module {
 public:
  ViTImpl(const ViTOptions& options, FinalNorm final_norm);

  /// Tokens after the last block, before the final norm: [B, C, height, width] to [B, T, D].
  torch::Tensor tokens(const torch::Tensor& images_BCHW, const StepPart& part = {});

  /// Patch tokens after the final norm, if there is one: [B, N, D]; or those that `tokens_BQ` (int64) names, CLS being
  /// token 0: [B, Q, D].
  torch::Tensor patch_tokens(const torch::Tensor& images_BCHW, const StepPart& part = {},
                             const torch::Tensor& tokens_BQ = {});

  /// Tokens [B, T, D] after each of the blocks in `layers` (counted from 1, rising; depth is the last); after the last
  /// of them those of `tokens_BQ` alone, where it is defined.
  std::vector<torch::Tensor> layers(const torch::Tensor& images_BCHW, const std::vector<int64_t>& layers,
                                    const StepPart& part = {}, const torch::Tensor& tokens_BQ = {});

  /// How the blocks in `layers` (as above) weigh the tokens, without gradient: of each [B, H, T, T], of which row q
  /// says what token q looks at, CLS being token 0. In eval().
  std::vector<torch::Tensor> attention(const torch::Tensor& images_BCHW, const std::vector<int64_t>& layers);

  /// Whether the blocks, those of derived networks too, compute their activations again in the backward pass.
  void set_recompute(bool on);

  /// The patches of images [B, C, height, width]. Error where a side is no multiple of the patch.
  Grid grid(const torch::Tensor& images_BCHW) const { return patch_embed_->grid(images_BCHW); }

  const ViTOptions& options() const { return options_; }

 protected:
  /// Patches [B, N, D] to tokens [B, T, D]: CLS in front, position embedding added.
  torch::Tensor embed(const torch::Tensor& patches_BND, const Grid& grid);
  /// What relative positions take on that grid; none on the network's own, or where it has no relative positions.
  std::optional<OtherGrid> other_grid(const Grid& grid);
  /// The shared bias [H, T, T], or undefined.
  torch::Tensor shared_bias(const std::optional<OtherGrid>& other);
  void check_layers(const std::vector<int64_t>& layers) const;
  /// Initial values of the whole network; final classes call it again with their own rules.
  void init(const InitOptions& init);

  ViTOptions options_;
  PatchEmbed patch_embed_ = nullptr;
  torch::Tensor cls_token_, pos_embed_;
  RelPosBias rel_pos_bias_ = nullptr;
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm norm_ = nullptr;  ///< `norm`, `fc_norm` or none

 private:
  std::deque<OtherGrid> other_grids_;  ///< the latest, newest in front
};
TORCH_MODULE(ViT);

}  // namespace beit

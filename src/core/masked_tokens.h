// Which tokens of a batch a loss over masked patches reads, so that the last block need not compute the others.
// Counted once a step where the mask lies on the CPU, as a loader makes it: on a GPU to count is to wait for it.
// Shape letters: B images, N patches, T = N + 1 tokens (CLS first), Q tokens asked for, M masked patches of the batch,
// D width.
#pragma once

#include <torch/torch.h>

namespace beit {

struct MaskedTokens {
  torch::Tensor mask_BN;    ///< bool: what the others were made of
  torch::Tensor tokens_BQ;  ///< int64: each image's masked patches, rising, as tokens; Q is the most that an image has
  torch::Tensor place_M;    ///< int64: where the masked patches stand in tokens_BQ, flattened; undefined: they are all

  /// [B, Q, ..] at tokens_BQ to [M, ..] at the masked patches, image by image.
  torch::Tensor masked(const torch::Tensor& asked_BQ) const;
};

/// Of a bool mask [B, N], for networks on `device`: a mask on the CPU is sent there without waiting. Images with fewer
/// masked patches than the most have patches that are not masked in addition.
MaskedTokens masked_tokens(const torch::Tensor& mask_BN, const torch::Device& device = torch::kCPU);

/// [B, T, D] at tokens_BQ, in [0, T), which nobody checks: [B, Q, D].
torch::Tensor take_tokens(const torch::Tensor& x_BTD, const torch::Tensor& tokens_BQ);

}  // namespace beit

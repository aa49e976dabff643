// A linear classifier and its cross-entropy as one, on the CPU without ever holding all logits.
// Shape letters: M rows, D width, V classes.
#pragma once

#include <torch/torch.h>

namespace beit {

struct LinearCrossEntropy {
  torch::Tensor loss;   ///< scalar, the mean over the rows
  torch::Tensor right;  ///< int64 scalar: rows whose target has the largest logit, the first of equals
};

/// Cross-entropy of softmax(features weight^T + bias) and targets, int64 [M] in [0, V). Features [M, D], weight [V, D],
/// bias [V]; all three get gradients. Error where shapes or targets do not fit.
///
/// In float32 on the processor rows come in chunks of at most 16 MiB of logits, and a chunk's gradients follow at once:
/// of the logits nothing stays for the backward pass, but the three gradients do. Elsewhere, and under autocast, logits
/// are LibTorch's, and their cross-entropy is computed in at least float32.
LinearCrossEntropy linear_cross_entropy(const torch::Tensor& features_MD, const torch::Tensor& weight_VD,
                                        const torch::Tensor& bias_V, const torch::Tensor& targets_M);

}  // namespace beit

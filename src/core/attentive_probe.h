// The attentive probe: a learnt query looks at a frozen network's patch tokens, and a linear classifier at what it saw.
// Shape letters: B images, M samples, N patches, D width of a token, H heads, d width of a head, K classes.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "core/probe.h"

namespace beit {

/// LayerNorm, one multi-head cross-attention whose query is a parameter, its output projection, a linear layer: the
/// attentive pooler of V-JEPA (Bardes et al. 2024) without residual connection and MLP, which leaves what CAE (Chen et
/// al. 2022) introduced and AIM (El-Nouby et al. 2024) uses, there with batch norm.
class AttentiveProbeImpl : public torch::nn::Module {
 public:
  /// Error unless the heads divide the width. Initial values are drawn from LibTorch's generator: linear weights and
  /// query truncated normal of deviation 0.02, biases 0.
  AttentiveProbeImpl(int64_t width, int64_t heads, int64_t classes);

  /// Patch tokens [B, N, D], float32, to logits [B, K].
  torch::Tensor forward(const torch::Tensor& tokens_BND);

 private:
  int64_t heads_;
  torch::Tensor query_Hd_;
  torch::nn::LayerNorm norm_ = nullptr;
  torch::nn::Linear key_ = nullptr, value_ = nullptr, proj_ = nullptr, head_ = nullptr;
};
TORCH_MODULE(AttentiveProbe);

struct AttentiveProbeOptions {
  std::vector<double> lrs{1e-4, 3e-4, 1e-3, 3e-3};  ///< of AdamW, for any batch; the rate is rate_share()
  double weight_decay = 0.01;
  int64_t heads = 12;
  int64_t batch_size = 256;  ///< all training samples, where there are fewer
  int64_t epochs = 20;       ///< the first tenth of the steps is warm-up
  double held_out = 0.2;     ///< share of the training set on which a learning rate is judged
  uint64_t seed = 0;         ///< decides the held-out part, the starting weights and the order of the samples
};

/// Patch tokens of a data set. They may lie on the CPU, in float16, and the labels on a GPU: there the probe computes,
/// and takes a batch of tokens at a time.
struct LabelledTokens {
  torch::Tensor tokens_MND;
  torch::Tensor labels_M;  ///< int64 in [0, K)
};

/// Trains a probe for each learning rate, all over the same batches; twice, as linear_sweep() does. A result for each
/// learning rate in their order. Seeds LibTorch's generator. Errors as train_linear_heads(), of both sets.
std::vector<RateResult> attentive_probe(const LabelledTokens& train, const LabelledTokens& val, int64_t classes,
                                        const AttentiveProbeOptions& options = {});

}  // namespace beit

// Initial values of the method's networks.
#pragma once

#include <torch/torch.h>

namespace beit {

/// How an untrained network starts.
struct InitOptions {
  double std = 0.02;
  double cut = 2.0;           ///< values beyond +-cut are drawn again; the pre-training model cuts at one std
  bool convolutions = false;  ///< also the patch embedding (pre-training model), else PyTorch's default stays
};

/// Normal with mean 0, truncated to [-cut, cut], in place. Draws from LibTorch's generator.
void trunc_normal_(const torch::Tensor& tensor, double std, double cut);

/// Weights of all linear layers (and convolutions, if asked) in `module` truncated normal, their biases 0.
void init_linear_layers(torch::nn::Module& module, const InitOptions& options);

}  // namespace beit

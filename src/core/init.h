// Initial values of the method's networks.
#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/torch.h>

namespace beit {

/// How an untrained network starts.
struct InitOptions {
  double std = 0.02;
  double cut = 2.0;           ///< values beyond +-cut are drawn again; the pre-training model cuts at one std
  bool convolutions = false;  ///< also the patch embedding (pre-training model), else PyTorch's default stays
};

/// make(), in which networks of ours and LibTorch's layers get no initial values: weights are memory as it comes, for
/// what overwrites them all or is thrown away. Where that fails, the network must not outlive the error.
template <class Make>
auto without_initial_values(const Make& make) {
  const c10::impl::IncludeDispatchKeyGuard deferred(c10::DispatchKey::DeferredInit);
  return make();
}

/// False within without_initial_values(), where nothing may be drawn into weights or computed from them.
inline bool gives_initial_values() { return !c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::DeferredInit); }

/// Normal with mean 0, truncated to [-cut, cut], in place. Draws from LibTorch's generator.
void trunc_normal_(const torch::Tensor& tensor, double std, double cut);

/// Weights of all linear layers (and convolutions, if asked) in `module` truncated normal, their biases 0.
void init_linear_layers(torch::nn::Module& module, const InitOptions& options);

}  // namespace beit

#include "core/init.h"

#include <torch/library.h>

#include <algorithm>
#include <cmath>

namespace beit {
namespace {

/// In the place of uniform_() and normal_(), by which LibTorch's layers start.
at::Tensor& nothing_drawn(at::Tensor& x, double /*from*/, double /*to*/, std::optional<at::Generator> /*generator*/) {
  return x;
}

}  // namespace

// DeferredInit is set aside in LibTorch for the initialisation of modules; all other operations pass it by.
TORCH_LIBRARY_IMPL(_, DeferredInit, library) { library.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, DeferredInit, library) {
  library.impl("uniform_", nothing_drawn);
  library.impl("normal_", nothing_drawn);
}

void trunc_normal_(const torch::Tensor& tensor, double std, double cut) {
  if (!gives_initial_values()) return;
  torch::NoGradGuard no_grad;
  // Probability within +-cut. Below 1, where erfinv is infinite and the value the cut: float32 draws the lower end once
  // in 2^24 numbers.
  const double edge = std::min(std::erf(cut / std / std::sqrt(2.0)), 1.0 - 0x1.0p-24);
  tensor.uniform_(-edge, edge).erfinv_().mul_(std * std::sqrt(2.0)).clamp_(-cut, cut);
}

void init_linear_layers(torch::nn::Module& module, const InitOptions& options) {
  if (!gives_initial_values()) return;
  torch::NoGradGuard no_grad;
  // Called by constructors, where the module itself has no shared_ptr yet.
  for (const auto& part : module.modules(/*include_self=*/false)) {
    torch::Tensor weight, bias;
    if (const auto* linear = part->as<torch::nn::LinearImpl>()) {
      weight = linear->weight;
      bias = linear->bias;
    } else if (const auto* convolution = part->as<torch::nn::Conv2dImpl>(); convolution && options.convolutions) {
      weight = convolution->weight;
      bias = convolution->bias;
    } else {
      continue;
    }
    trunc_normal_(weight, options.std, options.cut);
    if (bias.defined()) bias.zero_();
  }
}

}  // namespace beit

// What backward passes written by hand have in common.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <initializer_list>

#include "base/error.h"

namespace beit {

/// Whether what is computed from these will be asked for gradients. Some may be undefined.
inline bool wants_gradient(std::initializer_list<torch::Tensor> tensors) {
  return torch::GradMode::is_enabled() &&
         std::ranges::any_of(tensors, [](const torch::Tensor& x) { return x.defined() && x.requires_grad(); });
}

/// Error in a backward pass that is itself to be differentiated: for passes that write into memory behind autograd.
/// `remedy`: where gradients of gradients can be had.
inline void refuse_gradients_of_gradients(std::string_view where, std::string_view remedy = "compute in float64") {
  require(!torch::GradMode::is_enabled(),
          "{}: expected a backward pass without create_graph, got one with; {} for gradients of gradients", where,
          remedy);
}

}  // namespace beit

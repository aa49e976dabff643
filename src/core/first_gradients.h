// What backward passes written by hand have in common.
#pragma once

#include <torch/torch.h>

#include "base/error.h"

namespace beit {

/// Error in a backward pass that is itself to be differentiated: for passes that write into memory behind autograd.
inline void refuse_gradients_of_gradients(std::string_view where) {
  require(!torch::GradMode::is_enabled(),
          "{}: expected a backward pass without create_graph, got one with; compute gradients of gradients in float64",
          where);
}

}  // namespace beit

// Tests that need a GPU pass without one, and say so.
#pragma once

#include <fmt/format.h>
#include <torch/torch.h>

#include <optional>

namespace beit {

/// The first GPU; prints that the test is skipped where there is none.
inline std::optional<torch::Device> gpu() {
  if (at::hasCUDA() && torch::cuda::is_available()) return torch::Device(torch::kCUDA, 0);
  fmt::print("skipped: no GPU is there\n");
  return std::nullopt;
}

}  // namespace beit

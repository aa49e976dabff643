// From the CPU to the device that computes, without waiting for it.
#pragma once

#include <torch/torch.h>

namespace beit {

/// The tensor on `device`: from the CPU by way of pinned memory, so that neither side waits for the other. Undefined
/// stays so, and what is there already is handed back.
inline torch::Tensor send(const torch::Tensor& x, const torch::Device& device) {
  if (!x.defined() || !x.is_cpu() || device.is_cpu()) return x.defined() ? x.to(device) : x;
  return x.pin_memory().to(torch::TensorOptions(device), /*non_blocking=*/true);
}

}  // namespace beit

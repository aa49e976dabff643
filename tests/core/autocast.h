// Autocast of the CPU as a training loop switches it on.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

namespace beit {

/// On while this lives; nothing where `dtype` is float32 or float64.
class CpuAutocast {
 public:
  explicit CpuAutocast(torch::ScalarType dtype) : on_(dtype == torch::kBFloat16 || dtype == torch::kHalf) {
    if (!on_) return;
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_dtype(at::kCPU, dtype);
    at::autocast::increment_nesting();
  }
  ~CpuAutocast() {
    if (!on_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::set_autocast_dtype(at::kCPU, torch::kBFloat16);
  }
  CpuAutocast(const CpuAutocast&) = delete;
  CpuAutocast& operator=(const CpuAutocast&) = delete;

 private:
  bool on_;
};

}  // namespace beit

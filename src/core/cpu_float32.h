// What the loops of core/kernels.h work on.
#pragma once

#include <torch/torch.h>

namespace beit {

/// Whether the tensor is float32 on the CPU; in any layout.
inline bool is_cpu_float32(const torch::Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat32; }

}  // namespace beit

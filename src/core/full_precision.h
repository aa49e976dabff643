// What is computed in at least float32 while autocast takes all else to fewer bits.
#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/torch.h>

namespace beit {

/// Autocast is off on this thread while this lives.
class FullPrecision {
 public:
  FullPrecision() = default;

 private:
  c10::impl::ExcludeDispatchKeyGuard without_autocast_{c10::autocast_dispatch_keyset};
};

/// Float32, or the tensor's own type where that holds more.
inline torch::Tensor at_least_float32(const torch::Tensor& x) {
  return x.to(c10::promoteTypes(x.scalar_type(), torch::kFloat32));
}

}  // namespace beit

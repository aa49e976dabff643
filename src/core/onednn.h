// LibTorch's oneDNN, beyond what its own layers use of it.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/torch.h>

namespace beit {

/// Whether it is there and not switched off; only on x86, where its float32 loops are the ones measured.
inline bool has_onednn() {
#if defined(__x86_64__)
  return at::hasMKLDNN() && at::globalContext().userEnabledMkldnn();
#else
  return false;
#endif
}

/// An operation that has no C++ function, such as `mkldnn::_linear_pointwise`.
template <class Signature>
auto onednn_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace beit

#include "core/kernels/gelu.h"

#include <numbers>

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
namespace {

/// Phi(x), the normal distribution function.
Vec phi(Vec x) {
  const Vec half(0.5F);
  return half + half * (x * Vec(1.0F / std::numbers::sqrt2_v<float>)).erf();
}

}  // namespace

void gelu(const float* x, float* y, int64_t count) {
  for_each_vector(count, [&](int64_t i, int size) {
    const auto value = Vec::loadu(x + i, size);
    (value * phi(value)).store(y + i, size);
  });
}

void gelu_backward(const float* x, const float* grad_y, float* grad_x, float* y, int64_t count) {
  const Vec density_at_0(0.5F * std::numbers::inv_sqrtpi_v<float> * std::numbers::sqrt2_v<float>);
  for_each_vector(count, [&](int64_t i, int size) {
    const auto value = Vec::loadu(x + i, size), below = phi(value);
    const auto density = density_at_0 * (value * value * Vec(-0.5F)).exp();
    (Vec::loadu(grad_y + i, size) * (below + value * density)).store(grad_x + i, size);
    (value * below).store(y + i, size);
  });
}

}  // namespace beit::CPU_CAPABILITY

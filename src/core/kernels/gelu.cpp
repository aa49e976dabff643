#include "core/kernels/gelu.h"

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <numbers>

namespace beit::CPU_CAPABILITY {
namespace {

using Vec = at::vec::Vectorized<float>;

/// Phi(x), the normal distribution function.
Vec phi(Vec x) {
  const Vec half(0.5F);
  return half + half * (x * Vec(1.0F / std::numbers::sqrt2_v<float>)).erf();
}

/// visit(first, size) for each vector's worth; the last may be short.
template <class Visit>
void for_each_vector(int64_t count, Visit visit) {
  for (int64_t i = 0; i < count; i += Vec::size())
    visit(i, static_cast<int>(std::min<int64_t>(Vec::size(), count - i)));
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

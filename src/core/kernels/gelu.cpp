#include "core/kernels/gelu.h"

#include <numbers>

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
namespace {

struct Normal {
  Vec below;   // Phi(x), the distribution function, within 1e-7
  Vec height;  // exp(-x^2 / 2), its density but for a factor
};

/// By the complementary error function of Abramowitz and Stegun, 7.1.26, which needs the density anyway.
Normal normal(Vec x) {
  const Vec one(1.0F), size = x.abs() * Vec(1.0F / std::numbers::sqrt2_v<float>);
  const Vec height = (x * x * Vec(-0.5F)).exp_u20();
  const Vec t = one / at::vec::fmadd(Vec(0.3275911F), size, one);
  Vec tail = at::vec::fmadd(Vec(1.061405429F), t, Vec(-1.453152027F));
  for (const float next : {1.421413741F, -0.284496736F, 0.254829592F}) tail = at::vec::fmadd(tail, t, Vec(next));
  tail = tail * t * height * Vec(0.5F);
  return {Vec::blendv(one - tail, tail, x < Vec(0.0F)), height};
}

}  // namespace

void gelu(const float* x, float* y, int64_t count) {
  for_each_vector(count, [&](int64_t i, int size) {
    const auto value = Vec::loadu(x + i, size);
    (value * normal(value).below).store(y + i, size);
  });
}

void gelu_backward(const float* x, const float* grad_y, float* grad_x, float* y, int64_t count) {
  const Vec density_at_0(0.5F * std::numbers::inv_sqrtpi_v<float> * std::numbers::sqrt2_v<float>);
  for_each_vector(count, [&](int64_t i, int size) {
    const auto value = Vec::loadu(x + i, size);
    const auto [below, height] = normal(value);
    (Vec::loadu(grad_y + i, size) * (below + value * density_at_0 * height)).store(grad_x + i, size);
    (value * below).store(y + i, size);
  });
}

}  // namespace beit::CPU_CAPABILITY

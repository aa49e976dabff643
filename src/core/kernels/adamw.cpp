#include "core/kernels/adamw.h"

#include <algorithm>

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
void adamw(const AdamWFactors& factors, const float* grad, float* value, float* exp_avg, float* exp_avg_sq,
           int64_t count) {
  const Vec scale(factors.grad_scale), rate1(factors.rate1), rate2(factors.rate2), root_scale(factors.root_scale),
      eps(factors.eps), kept(factors.kept), lr(-factors.lr);
  for_each_vector(count, [&](int64_t i, int size) {
    const auto g = Vec::loadu(grad + i, size) * scale;
    auto m = Vec::loadu(exp_avg + i, size), v = Vec::loadu(exp_avg_sq + i, size);
    m = at::vec::fmadd(rate1, g - m, m);
    v = at::vec::fmadd(rate2, g * g - v, v);
    m.store(exp_avg + i, size);
    v.store(exp_avg_sq + i, size);
    const auto direction = m / at::vec::fmadd(v.sqrt(), root_scale, eps);
    at::vec::fmadd(lr, direction, kept * Vec::loadu(value + i, size)).store(value + i, size);
  });
}

double sum_squares(const float* x, int64_t count) {
  constexpr int kSums = 4;  // at once: an addition takes as long
  Vec sums[kSums] = {Vec(0.0F), Vec(0.0F), Vec(0.0F), Vec(0.0F)};
  int64_t i = 0;
  for (; i + kSums * Vec::size() <= count; i += kSums * Vec::size()) {
    for (int s = 0; s < kSums; ++s) {
      const auto part = Vec::loadu(x + i + s * Vec::size());
      sums[s] = at::vec::fmadd(part, part, sums[s]);
    }
  }
  for (; i < count; i += Vec::size()) {
    const auto part = Vec::loadu(x + i, static_cast<int>(std::min<int64_t>(Vec::size(), count - i)));
    sums[0] = at::vec::fmadd(part, part, sums[0]);
  }
  double total = 0;
  for (const auto& sum : sums) {
    float lanes[Vec::size()];
    sum.store(lanes);
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

}  // namespace beit::CPU_CAPABILITY

#include "core/kernels/layer_norm.h"

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
namespace {

/// The first `size` numbers, and zeros.
Vec first_of(Vec x, int size) { return Vec::set(Vec(0.0F), x, size); }

struct Moments {
  float mean, scale;  // scale: 1 / sqrt(variance + eps)
};

Moments moments_of(const RowNorm& norm, const float* x) {
  const auto width = static_cast<float>(norm.width);
  Vec sums(0.0F);
  for_each_vector(norm.width, [&](int64_t i, int size) { sums = sums + Vec::loadu(x + i, size); });
  const float mean = sum(sums) / width;
  Vec squares(0.0F);
  for_each_vector(norm.width, [&](int64_t i, int size) {
    const auto from_mean = first_of(Vec::loadu(x + i, size) - Vec(mean), size);
    squares = at::vec::fmadd(from_mean, from_mean, squares);
  });
  return {mean, 1.0F / std::sqrt(sum(squares) / width + norm.eps)};
}

}  // namespace

void layer_norm(const RowNorm& norm, const float* x, int64_t rows, float* y, float* moments) {
  for (int64_t row = 0; row < rows; ++row, x += norm.width, y += norm.width) {
    const auto [mean, scale] = moments_of(norm, x);
    if (moments != nullptr) {
      moments[2 * row] = mean;
      moments[2 * row + 1] = scale;
    }
    for_each_vector(norm.width, [&](int64_t i, int size) {
      const auto unit = (Vec::loadu(x + i, size) - Vec(mean)) * Vec(scale);
      at::vec::fmadd(unit, Vec::loadu(norm.weight + i, size), Vec::loadu(norm.bias + i, size)).store(y + i, size);
    });
  }
}

// With u = (x - mean) * scale and g = weight * grad_y: grad_x = scale * (g - mean(g) - u * mean(g * u)).
void layer_norm_backward(const RowNorm& norm, const float* x, const float* moments, int64_t rows, const float* grad_y,
                         const float* grad_more, float* grad_x, float* grad_weight, float* grad_bias) {
  const float share = 1.0F / static_cast<float>(norm.width);
  for (int64_t row = 0; row < rows; ++row) {
    const Vec mean(moments[2 * row]), scale(moments[2 * row + 1]);
    const auto unit = [&](int64_t i, int size) { return (Vec::loadu(x + i, size) - mean) * scale; };
    Vec sum_g(0.0F), sum_gu(0.0F);
    for_each_vector(norm.width, [&](int64_t i, int size) {
      const auto grad = Vec::loadu(grad_y + i, size), u = unit(i, size);
      at::vec::fmadd(grad, u, Vec::loadu(grad_weight + i, size)).store(grad_weight + i, size);
      (Vec::loadu(grad_bias + i, size) + grad).store(grad_bias + i, size);
      const auto g = grad * Vec::loadu(norm.weight + i, size);  // beyond the row both are 0
      sum_g = sum_g + g;
      sum_gu = at::vec::fmadd(g, u, sum_gu);
    });
    const Vec mean_g(sum(sum_g) * share), mean_gu(sum(sum_gu) * share);
    for_each_vector(norm.width, [&](int64_t i, int size) {
      const auto g = Vec::loadu(grad_y + i, size) * Vec::loadu(norm.weight + i, size);
      const auto grad = (g - mean_g - unit(i, size) * mean_gu) * scale;
      (Vec::loadu(grad_more + i, size) + grad).store(grad_x + i, size);
    });
    x += norm.width, grad_y += norm.width, grad_more += norm.width, grad_x += norm.width;
  }
}

}  // namespace beit::CPU_CAPABILITY

#include "core/kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
namespace {

/// Adds the bias to x[begin, end); the largest of the sums, minus infinity where there are none.
float add_bias(float* x, const float* bias, int64_t begin, int64_t end) {
  const Vec least(-std::numeric_limits<float>::infinity());
  Vec most = least;
  for_each_vector(begin, end, [&](int64_t i, int size) {
    const auto sum = Vec::loadu(x + i, size) + Vec::loadu(bias + i, size);
    sum.store(x + i, size);
    most = at::vec::maximum(most, Vec::set(least, sum, size));
  });
  return greatest(most);
}

}  // namespace

RowCrossEntropy cross_entropy(float* logits, const float* bias, int64_t classes, int64_t target, float scale) {
  const float before = add_bias(logits, bias, 0, target), from = add_bias(logits, bias, target, classes);
  const float of_target = logits[target], most = std::max(before, from);
  Vec sums(0.0F);
  for_each_vector(0, classes, [&](int64_t i, int size) {
    const auto part = Vec::set(Vec(0.0F), (Vec::loadu(logits + i, size) - Vec(most)).exp(), size);
    part.store(logits + i, size);
    sums += part;
  });
  const float total = sum(sums);
  const Vec factor(scale / total);
  for_each_vector(0, classes,
                  [&](int64_t i, int size) { (Vec::loadu(logits + i, size) * factor).store(logits + i, size); });
  logits[target] -= scale;
  const bool right = before < of_target && from <= of_target && std::isfinite(total);
  return {.loss = std::log(total) + (most - of_target), .right = right};
}

}  // namespace beit::CPU_CAPABILITY

// Golden files of networks: inputs `in.*`, weights `w.*`, expected results `out.*`, gradients `grad.*`; the files'
// metadata state the configuration.
#pragma once

#include <doctest/doctest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/safetensors.h"
#include "io/weights.h"

namespace beit {

/// Largest absolute difference; infinite where shapes differ or a value is no number.
inline double difference(const torch::Tensor& got, const torch::Tensor& expected) {
  if (got.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const double largest = (got.detach().to(torch::kFloat64) - expected.to(torch::kFloat64)).abs().max().item<double>();
  return std::isfinite(largest) ? largest : std::numeric_limits<double>::infinity();
}

/// Largest absolute difference over the largest expected entry.
inline double relative_difference(const torch::Tensor& got, const torch::Tensor& expected) {
  return difference(got, expected) / expected.abs().max().item<double>();
}

/// Every parameter that is trained has a gradient in `expected` and none is left over; each agrees within `tolerance`
/// of its largest entry. Returns the largest of these relative differences.
inline double check_gradients(const torch::nn::Module& module, const TensorMap& expected, double tolerance) {
  size_t compared = 0;
  double worst = 0;
  for (const auto& parameter : module.named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    CAPTURE(parameter.key());
    REQUIRE(expected.contains(parameter.key()));
    REQUIRE(parameter.value().grad().defined());
    const double found = relative_difference(parameter.value().grad(), expected.at(parameter.key()));
    CHECK(found < tolerance);
    worst = std::max(worst, found);
    ++compared;
  }
  CHECK(compared == expected.size());
  return worst;
}

}  // namespace beit

// tests/CMakeLists.txt runs this file once a level of vector instructions.
#include <doctest/doctest.h>
#include <torch/torch.h>

#include "core/kernels.h"

namespace beit {
namespace {

TEST_CASE("kernels: adamw moves value and averages by the formula, whatever the length") {
  torch::manual_seed(3);
  const AdamWFactors f{
      .grad_scale = 0.3F, .rate1 = 0.1F, .rate2 = 0.02F, .root_scale = 1.7F, .eps = 1e-3F, .kept = 0.9F, .lr = 0.2F};
  for (const int64_t count : {1, 15, 16, 100}) {
    CAPTURE(count);
    const auto grad = torch::randn({count});
    auto value = torch::randn({count + 1}), m = torch::randn({count + 1}), v = torch::rand({count + 1});
    const auto g = grad.to(torch::kFloat64) * f.grad_scale;
    const auto before = [&](const torch::Tensor& x) { return x.slice(0, 0, count).to(torch::kFloat64).clone(); };
    const auto expected_m = before(m) * (1 - f.rate1) + g * f.rate1;
    const auto expected_v = before(v) * (1 - f.rate2) + g * g * f.rate2;
    const auto expected_value = before(value) * f.kept - expected_m / (expected_v.sqrt() * f.root_scale + f.eps) * f.lr;
    const auto last = torch::stack({value[count], m[count], v[count]});
    kernels().adamw(f, grad.const_data_ptr<float>(), value.mutable_data_ptr<float>(), m.mutable_data_ptr<float>(),
                    v.mutable_data_ptr<float>(), count);
    CHECK(torch::allclose(before(m), expected_m, 1e-5, 1e-6));
    CHECK(torch::allclose(before(v), expected_v, 1e-5, 1e-6));
    CHECK(torch::allclose(before(value), expected_value, 1e-5, 1e-6));
    CHECK(torch::equal(torch::stack({value[count], m[count], v[count]}), last));
  }
}

TEST_CASE("kernels: sum_squares is the sum of squares, whatever the length") {
  torch::manual_seed(4);
  for (const int64_t count : {0, 1, 15, 64, 65, 1000}) {
    CAPTURE(count);
    const auto x = torch::randn({count});
    const double expected = x.to(torch::kFloat64).square().sum().item<double>();
    CHECK(kernels().sum_squares(x.const_data_ptr<float>(), count) == doctest::Approx(expected).epsilon(1e-6));
  }
}

}  // namespace
}  // namespace beit

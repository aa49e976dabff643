// tests/CMakeLists.txt runs this file once a level of vector instructions. Shape letters: V classes.
#include <doctest/doctest.h>
#include <torch/torch.h>

#include "core/kernels.h"

namespace beit {
namespace {

TEST_CASE("kernels: cross_entropy is LibTorch's with its gradient, whatever the number of classes and the target") {
  torch::manual_seed(5);
  for (const int64_t classes : {1, 2, 16, 33, 1000}) {
    for (const int64_t target : {int64_t{0}, classes / 2, classes - 1}) {
      CAPTURE(classes);
      CAPTURE(target);
      const auto logits_V = 30 * torch::randn({classes}), bias_V = torch::randn({classes});
      const auto sum_V = (logits_V + bias_V).to(torch::kFloat64).requires_grad_();
      const auto expected = torch::cross_entropy_loss(sum_V.unsqueeze(0), torch::tensor({target}));
      (0.25 * expected).backward();
      auto row = torch::cat({logits_V, torch::full({1}, 77.0F)});
      const auto [loss, right] = kernels().cross_entropy(row.mutable_data_ptr<float>(), bias_V.const_data_ptr<float>(),
                                                         classes, target, 0.25F);
      CHECK(loss == doctest::Approx(expected.item<double>()).epsilon(1e-5));
      CHECK(right == (sum_V.argmax().item<int64_t>() == target));
      CHECK(torch::allclose(row.slice(0, 0, classes).to(torch::kFloat64), sum_V.grad(), 1e-5, 1e-6));
      CHECK(row[classes].item<float>() == 77.0F);
    }
  }
}

TEST_CASE("kernels: cross_entropy finds right the first of equal logits, and none among what is no number") {
  const auto right = [](std::vector<float> logits, int64_t target) {
    const std::vector<float> bias(logits.size(), 0.0F);
    return kernels().cross_entropy(logits.data(), bias.data(), static_cast<int64_t>(logits.size()), target, 1.0F).right;
  };
  CHECK(right({1, 3, 3, 2}, 1));
  CHECK(!right({1, 3, 3, 2}, 2));
  CHECK(!right({1, NAN, 3, 2}, 2));
}

}  // namespace
}  // namespace beit

// Shape letters: M rows, D width, V classes.
#include "core/linear_cross_entropy.h"

#include "base/error.h"
#include "tests/core/autocast.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

struct Inputs {
  torch::Tensor features_MD, weight_VD, bias_V, targets_M;

  Inputs(int64_t rows, int64_t width, int64_t classes)
      : features_MD(torch::randn({rows, width}).requires_grad_()),
        weight_VD(torch::randn({classes, width}).requires_grad_()),
        bias_V(torch::randn({classes}).requires_grad_()),
        targets_M(torch::randint(classes, {rows}, torch::kInt64)) {}

  LinearCrossEntropy outputs(torch::ScalarType type = torch::kFloat32) const {
    return linear_cross_entropy(features_MD.to(type), weight_VD.to(type), bias_V.to(type), targets_M);
  }
  /// By LibTorch in float64.
  LinearCrossEntropy expected() const {
    const auto logits_MV =
        torch::linear(features_MD.to(torch::kFloat64), weight_VD.to(torch::kFloat64), bias_V.to(torch::kFloat64));
    return {torch::cross_entropy_loss(logits_MV, targets_M), logits_MV.argmax(1).eq(targets_M).sum()};
  }
  std::vector<torch::Tensor> gradients(const torch::Tensor& loss) const {
    return torch::autograd::grad({loss}, {features_MD, weight_VD, bias_V}, /*grad_outputs=*/{}, /*retain_graph=*/true);
  }
};

TEST_CASE("linear cross-entropy: loss, right rows and gradients are LibTorch's, in one chunk or several") {
  torch::manual_seed(11);
  // 2^22 logits a chunk: the last is two chunks of 300 rows and one of 299.
  for (const auto [rows, width, classes] :
       {std::array<int64_t, 3>{1, 3, 1}, {5, 1, 2}, {300, 24, 30}, {899, 8, 10'000}}) {
    CAPTURE(rows);
    const Inputs inputs(rows, width, classes);
    for (const auto type : {torch::kFloat32, torch::kFloat64}) {
      const auto found = inputs.outputs(type), expected = inputs.expected();
      CHECK(difference(found.loss, expected.loss) < 1e-5);
      CHECK(torch::equal(found.right, expected.right));
      const auto gradients = inputs.gradients(3 * found.loss), wanted = inputs.gradients(3 * expected.loss);
      for (size_t i = 0; i < gradients.size(); ++i) CHECK(difference(gradients[i], wanted[i]) < 1e-5);
    }
  }
}

TEST_CASE("linear cross-entropy: without gradients the same loss to the bit, and again with them") {
  torch::manual_seed(12);
  const Inputs inputs(700, 16, 9000);
  const auto first = inputs.outputs(), second = inputs.outputs();
  CHECK(torch::equal(first.loss, second.loss));
  const auto gradients = inputs.gradients(first.loss), again = inputs.gradients(second.loss);
  for (size_t i = 0; i < gradients.size(); ++i) CHECK(torch::equal(gradients[i], again[i]));
  const torch::NoGradGuard no_grad;
  const auto plain = inputs.outputs();
  CHECK(!plain.loss.requires_grad());
  CHECK(torch::equal(plain.loss, first.loss.detach()));
  CHECK(torch::equal(plain.right, first.right));
}

TEST_CASE("linear cross-entropy: a second backward pass adds what the first did, and what is frozen gets nothing") {
  torch::manual_seed(13);
  Inputs inputs(50, 6, 9);
  inputs.bias_V = inputs.bias_V.detach();
  const auto loss = inputs.outputs().loss;
  loss.backward({}, /*retain_graph=*/true);
  const auto once_VD = inputs.weight_VD.grad().clone();
  loss.backward();
  CHECK(torch::equal(inputs.weight_VD.grad(), 2 * once_VD));
  CHECK(!inputs.bias_V.grad().defined());
  CHECK_THROWS(loss.backward());  // the gradients are gone with the graph
}

TEST_CASE("linear cross-entropy: strided features and weights serve") {
  torch::manual_seed(14);
  Inputs inputs(40, 6, 9);
  const auto expected = inputs.outputs();
  const auto turned = [](const torch::Tensor& x) { return x.t().contiguous().t(); };
  const auto found =
      linear_cross_entropy(turned(inputs.features_MD), turned(inputs.weight_VD), inputs.bias_V, inputs.targets_M);
  CHECK(difference(found.loss, expected.loss) < 1e-6);
  const auto gradients = inputs.gradients(found.loss), wanted = inputs.gradients(expected.loss);
  for (size_t i = 0; i < gradients.size(); ++i) CHECK(difference(gradients[i], wanted[i]) < 1e-6);
}

TEST_CASE("linear cross-entropy: under autocast products are in bf16 and the loss in float32") {
  torch::manual_seed(15);
  const Inputs inputs(60, 8, 20);
  const CpuAutocast autocast(torch::kBFloat16);
  const auto found = inputs.outputs();
  CHECK((found.loss.scalar_type() == torch::kFloat32));
  const double apart = difference(found.loss, inputs.expected().loss);
  CHECK(apart > 0);
  CHECK(apart < 0.1);
}

TEST_CASE("linear cross-entropy: shapes and targets that do not fit are refused") {
  const Inputs inputs(4, 3, 5);
  CHECK_THROWS_WITH_AS(
      linear_cross_entropy(inputs.features_MD, inputs.weight_VD, inputs.bias_V, torch::tensor({0, 1, 2, 5})),
      doctest::Contains("[0, 5), got 0 to 5"), Error);
  CHECK_THROWS_AS(linear_cross_entropy(inputs.features_MD, inputs.weight_VD.t(), inputs.bias_V, inputs.targets_M),
                  Error);
  CHECK_THROWS_AS(
      linear_cross_entropy(inputs.features_MD, inputs.weight_VD, inputs.bias_V, inputs.targets_M.slice(0, 1)), Error);
}

}  // namespace
}  // namespace beit

// Shape letters: M rows, D inputs, F outputs, H hidden width.
#include "core/linear.h"

#include "base/error.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

/// One pass forward and backward: the result, then the gradients of all that wants one.
std::vector<torch::Tensor> pass(const std::function<torch::Tensor()>& forward,
                                const std::vector<torch::Tensor>& leaves) {
  for (const auto& leaf : leaves) leaf.mutable_grad().reset();
  const auto y = forward();
  torch::manual_seed(3);
  (y * torch::randn_like(y)).sum().backward();
  std::vector<torch::Tensor> result{y.detach()};
  for (const auto& leaf : leaves) result.push_back(leaf.grad().clone());
  return result;
}

TEST_CASE("linear: values and gradients are torch::linear's, whichever library multiplies") {
  torch::manual_seed(1);
  // By tiles, by whole matrices, and by LibTorch's own operations.
  for (const auto& [dtype, outputs] :
       {std::pair(torch::kFloat32, 40), {torch::kFloat32, 9600}, {torch::kFloat64, 40}}) {
    CAPTURE(outputs);
    const auto x = torch::randn({3, 55, 24}, dtype).requires_grad_(),
               w = torch::randn({outputs, 24}, dtype).requires_grad_(),
               b = torch::randn({outputs}, dtype).requires_grad_();
    const auto ours = pass([&] { return linear(x, w, b); }, {x, w, b});
    const auto theirs = pass([&] { return torch::linear(x, w, b); }, {x, w, b});
    for (size_t i = 0; i < ours.size(); ++i) CHECK(relative_difference(ours[i], theirs[i]) < 1e-5);
    const torch::NoGradGuard no_grad;
    CHECK(torch::allclose(linear(x, w, torch::Tensor()), torch::linear(x, w), 1e-4, 1e-5));
    CHECK(linear(x.slice(0, 0, 0), w, b).sizes() == torch::IntArrayRef({0, 55, outputs}));
    CHECK(torch::allclose(linear(x.transpose(0, 1), w, b), torch::linear(x.transpose(0, 1), w, b), 1e-4, 1e-5));
  }
}

TEST_CASE("linear: where only some want a gradient, the others get none") {
  const auto x = torch::randn({4, 8}), w = torch::randn({6, 8}).requires_grad_(), b = torch::zeros({6});
  linear(x, w, b).sum().backward();
  CHECK(w.grad().defined());
  CHECK(!x.grad().defined());
  CHECK(!b.grad().defined());
}

TEST_CASE("gelu_mlp: values and gradients are those of the layers one by one, more than once") {
  torch::manual_seed(2);
  // By tiles, by whole matrices, and by LibTorch's own operations.
  for (const auto& [dtype, hidden] : {std::pair(torch::kFloat32, 96), {torch::kFloat32, 9600}, {torch::kFloat64, 96}}) {
    CAPTURE(hidden);
    torch::nn::Linear fc1(24, hidden), fc2(hidden, 24);
    fc1->to(dtype);
    fc2->to(dtype);
    const auto x = torch::randn({3, 55, 24}, dtype).requires_grad_();
    const std::vector<torch::Tensor> leaves{x, fc1->weight, fc1->bias, fc2->weight, fc2->bias};
    const auto ours = pass([&] { return gelu_mlp(x, fc1, fc2); }, leaves);
    const auto theirs = pass([&] { return fc2(torch::gelu(fc1(x))); }, leaves);
    for (size_t i = 0; i < ours.size(); ++i) CHECK(relative_difference(ours[i], theirs[i]) < 1e-5);
    const auto y = gelu_mlp(x, fc1, fc2).sum();
    x.mutable_grad().reset();
    y.backward({}, /*keep_graph=*/true);
    const auto once = x.grad().clone();
    y.backward();
    CHECK(torch::equal(x.grad(), 2 * once));
    const torch::NoGradGuard no_grad;
    CHECK(torch::allclose(gelu_mlp(x, fc1, fc2), ours[0], 1e-4, 1e-5));
  }
}

TEST_CASE("gelu_mlp: with biases alone to train, and without any") {
  torch::manual_seed(4);
  for (const int64_t hidden : {96, 9600}) {
    CAPTURE(hidden);
    const auto x = torch::randn({70, 24});
    torch::nn::Linear fc1(24, hidden), fc2(hidden, 24);
    fc1->weight.requires_grad_(false);
    fc2->weight.requires_grad_(false);
    const auto ours = pass([&] { return gelu_mlp(x, fc1, fc2); }, {fc1->bias, fc2->bias});
    const auto theirs = pass([&] { return fc2(torch::gelu(fc1(x))); }, {fc1->bias, fc2->bias});
    for (size_t i = 0; i < ours.size(); ++i) CHECK(relative_difference(ours[i], theirs[i]) < 1e-5);
    CHECK(!fc1->weight.grad().defined());

    torch::nn::Linear bare1(torch::nn::LinearOptions(24, hidden).bias(false)),
        bare2(torch::nn::LinearOptions(hidden, 24).bias(false));
    const auto bare_ours = pass([&] { return gelu_mlp(x, bare1, bare2); }, {bare1->weight, bare2->weight});
    const auto bare_theirs = pass([&] { return bare2(torch::gelu(bare1(x))); }, {bare1->weight, bare2->weight});
    for (size_t i = 0; i < bare_ours.size(); ++i) CHECK(relative_difference(bare_ours[i], bare_theirs[i]) < 1e-5);
    const auto one = pass([&] { return linear(x, bare1); }, {bare1->weight});
    CHECK(relative_difference(one[1], pass([&] { return bare1(x); }, {bare1->weight})[1]) < 1e-5);
  }
}

TEST_CASE("linear: what does not fit and gradients of gradients are refused") {
  const auto x = torch::randn({70, 24}).requires_grad_();
  for (const int64_t outputs : {40, 9600}) {
    const auto w = torch::randn({outputs, 24}).requires_grad_(), b = torch::zeros({outputs});
    CHECK_THROWS(linear(x.slice(1, 0, 20), w, b));
    CHECK_THROWS(linear(x, w, torch::zeros({outputs + 1})));
    torch::nn::Linear fc1(24, outputs), other(outputs + 1, 24), fc2(outputs, 24);
    CHECK_THROWS(gelu_mlp(x, fc1, other));
    CHECK_THROWS_WITH_AS(gelu_mlp(x, fc1, fc2).sum().backward({}, /*keep_graph=*/{}, /*create_graph=*/true),
                         doctest::Contains("create_graph"), Error);
  }
  const auto narrow = torch::randn({40, 24}).requires_grad_();
  CHECK_THROWS_WITH_AS(linear(x, narrow, torch::Tensor()).sum().backward({}, /*keep_graph=*/{}, /*create_graph=*/true),
                       doctest::Contains("create_graph"), Error);
}

}  // namespace
}  // namespace beit

// Shape letters: B images, T tokens, D width, H heads, d width of a head.
#include "core/attention.h"

#include <cmath>
#include <functional>

#include "base/error.h"
#include "core/rel_pos.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

struct Inputs {
  torch::Tensor q, k, v, bias;
};

Inputs inputs(torch::Dtype dtype) {
  torch::manual_seed(3);
  const auto draw = [&](torch::IntArrayRef shape) { return torch::randn(shape, dtype); };
  return {draw({2, 3, 5, 4}), draw({2, 3, 5, 4}), draw({2, 3, 5, 4}), draw({3, 5, 5})};
}

torch::Tensor formula(const Inputs& in, bool biased) {
  auto scores = in.q.matmul(in.k.transpose(-2, -1)) / std::sqrt(4.0);
  if (biased) scores = scores + in.bias;
  return scores.softmax(-1).matmul(in.v);
}

TEST_CASE("attend: the formula, in each of its forms") {
  auto in = inputs(torch::kFloat32);
  CHECK(difference(attend(in.q, in.k, in.v, {}), formula(in, false)) < 1e-6);
  CHECK(difference(attend(in.q, in.k, in.v, in.bias), formula(in, true)) < 1e-6);
  in.bias.requires_grad_();
  CHECK(difference(attend(in.q, in.k, in.v, in.bias), formula(in, true)) < 1e-6);
  const torch::NoGradGuard no_grad;
  CHECK(difference(attend(in.q, in.k, in.v, in.bias), formula(in, true)) < 1e-6);
}

TEST_CASE("attend: gradients of query, key, value and bias equal central differences") {
  auto in = inputs(torch::kFloat64);
  const auto weight_BHTd = torch::randn_like(in.q);
  const auto objective = [&] { return (attend(in.q, in.k, in.v, in.bias) * weight_BHTd).sum(); };
  for (auto* input : {&in.q, &in.k, &in.v, &in.bias}) input->requires_grad_();
  objective().backward();
  for (auto* input : {&in.q, &in.k, &in.v, &in.bias}) {
    const auto expected = torch::empty_like(*input);
    const torch::NoGradGuard no_grad;
    auto values = input->flatten(), slopes = expected.flatten();  // both share memory with their tensors
    for (int64_t i = 0; i < values.numel(); ++i) {
      const double value = values[i].item<double>(), step = 1e-6;
      values[i] = value + step;
      const double above = objective().item<double>();
      values[i] = value - step;
      slopes[i] = (above - objective().item<double>()) / (2 * step);
      values[i] = value;
    }
    CHECK(relative_difference(input->grad(), expected) < 1e-7);
  }
}

ViTOptions small(RelPos relative_position) {
  return {.grid = {2, 2}, .width = 12, .heads = 3, .relative_position = relative_position};
}

TEST_CASE("attention: names as in the published files, no bias of the key") {
  Attention attention(small(RelPos::kBlock));
  const auto tensors = state_dict(*attention);
  for (const std::string name :
       {"qkv.weight", "q_bias", "v_bias", "proj.weight", "proj.bias", "relative_position_bias_table"}) {
    CAPTURE(name);
    CHECK(tensors.contains(name));
  }
  CHECK(attention->parameters().size() == 6);
  CHECK(Attention(small(RelPos::kShared))->parameters().size() == 5);
}

TEST_CASE("attention: query and value biases act, heads stay apart") {
  torch::manual_seed(4);
  Attention attention(small(RelPos::kNone));
  auto tensors = state_dict(*attention);
  tensors.at("q_bias").normal_();
  tensors.at("v_bias").normal_();
  const auto x_BTD = torch::randn({2, 5, 12});
  const auto qkv = x_BTD.matmul(tensors.at("qkv.weight").t());
  auto expected_BTD = torch::empty({2, 5, 12});
  for (int64_t head = 0; head < 3; ++head) {
    const auto part = [&](int64_t which) { return qkv.narrow(2, 12 * which + 4 * head, 4); };
    const auto q = part(0) + tensors.at("q_bias").narrow(0, 4 * head, 4);
    const auto v = part(2) + tensors.at("v_bias").narrow(0, 4 * head, 4);
    expected_BTD.narrow(2, 4 * head, 4).copy_((q.matmul(part(1).transpose(1, 2)) / 2).softmax(-1).matmul(v));
  }
  expected_BTD = expected_BTD.matmul(tensors.at("proj.weight").t()) + tensors.at("proj.bias");
  CHECK(difference(attention->forward(x_BTD, {}), expected_BTD) < 1e-6);
}

TEST_CASE("attention: a block's own table takes the place of a shared bias") {
  torch::manual_seed(5);
  Attention own(small(RelPos::kBlock)), shared(small(RelPos::kShared));
  auto tensors = state_dict(*own);
  load_state_dict(*shared, tensors);
  auto table_RH = tensors.at("relative_position_bias_table");
  table_RH.normal_();
  const auto x_BTD = torch::randn({2, 5, 12});
  const auto ignored_HTT = torch::randn({3, 5, 5});
  const auto bias_HTT = relative_position_bias(table_RH, relative_position_index({2, 2}));
  CHECK(difference(own->forward(x_BTD, ignored_HTT), shared->forward(x_BTD, bias_HTT)) < 1e-6);
  CHECK(difference(own->forward(x_BTD, {}), shared->forward(x_BTD, {})) > 1e-3);
}

TEST_CASE("attention: a width that heads do not divide is refused") {
  CHECK_THROWS_WITH_AS(Attention(ViTOptions{.grid = {}, .width = 10, .heads = 3}), doctest::Contains("--heads"), Error);
}

}  // namespace
}  // namespace beit

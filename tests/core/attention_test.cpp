// Shape letters: B images, Q queries, T tokens, D width, H heads, d width of a head.
#include "core/attention.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <limits>
#include <tuple>

#include "base/error.h"
#include "core/rel_pos.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

constexpr int64_t kHeads = 3;

struct Inputs {
  torch::Tensor q, k, v, bias, tokens;

  std::vector<torch::Tensor*> differentiable() { return {&q, &k, &v, &bias}; }
  torch::Tensor attended() const { return attend({q, k, v}, kHeads, bias, tokens); }
};

/// Two images; fewer queries than tokens are some of them, in no order.
Inputs inputs(torch::Dtype dtype, int64_t queries = 5, int64_t tokens = 5, int64_t head_width = 4) {
  torch::manual_seed(3);
  const int64_t width = kHeads * head_width;
  const auto draw = [&](torch::IntArrayRef shape) { return torch::randn(shape, dtype); };
  Inputs in{draw({2, queries, width}),
            draw({2, tokens, width}),
            draw({2, tokens, width}),
            draw({kHeads, tokens, tokens}),
            {}};
  if (queries != tokens) in.tokens = torch::rand({2, tokens}).argsort().slice(1, 0, queries);
  return in;
}

torch::Tensor formula(const Inputs& in) {
  std::vector<torch::Tensor> images;
  for (int64_t image = 0; image < in.q.size(0); ++image) {
    std::vector<torch::Tensor> heads;
    const int64_t width = in.q.size(2) / kHeads;
    for (int64_t head = 0; head < kHeads; ++head) {
      const auto part = [&](const torch::Tensor& x) { return x[image].narrow(1, head * width, width); };
      auto scores = part(in.q).matmul(part(in.k).t()) / std::sqrt(static_cast<double>(width));
      if (in.bias.defined())
        scores = scores + (in.tokens.defined() ? in.bias[head].index({in.tokens[image]}) : in.bias[head]);
      heads.push_back(scores.softmax(-1).matmul(part(in.v)));
    }
    images.push_back(torch::cat(heads, 1));
  }
  return torch::stack(images);
}

/// The result and the gradients of all inputs that have one.
template <class Function>
std::vector<torch::Tensor> with_gradients(Inputs in, Function function) {
  std::vector<torch::Tensor> sources;
  for (auto* input : in.differentiable())
    if (input->defined()) sources.push_back(*input = input->detach().requires_grad_());
  const auto y = function(in);
  auto found = torch::autograd::grad({(y * torch::linspace(-1, 2, y.numel(), y.options()).view_as(y)).sum()}, sources);
  found.push_back(y.detach());
  return found;
}

void check_all_close(const std::vector<torch::Tensor>& found, const std::vector<torch::Tensor>& expected) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(torch::allclose(found[i].to(torch::kFloat64), expected[i], 1e-5, 1e-5));
  }
}

Inputs to_float64(Inputs in) {
  for (auto* input : in.differentiable())
    if (input->defined()) *input = input->to(torch::kFloat64);
  return in;
}

TEST_CASE("attend: the formula and its gradients, whatever the sizes") {
  for (const auto& [queries, tokens, width] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{{5, 5, 4},
                                                                                                 {1, 1, 1},
                                                                                                 {1, 7, 3},
                                                                                                 {16, 16, 16},
                                                                                                 {30, 53, 20},
                                                                                                 {131, 131, 24},
                                                                                                 {197, 197, 64},
                                                                                                 {76, 197, 64}}) {
    for (const bool biased : {false, true}) {
      CAPTURE(queries);
      CAPTURE(tokens);
      CAPTURE(biased);
      auto in = inputs(torch::kFloat32, queries, tokens, width);
      if (!biased) in.bias = torch::Tensor();
      const auto expected = with_gradients(to_float64(in), formula);
      check_all_close(with_gradients(in, std::mem_fn(&Inputs::attended)), expected);
      check_all_close(with_gradients(to_float64(in), std::mem_fn(&Inputs::attended)), expected);
      const torch::NoGradGuard no_grad;
      CHECK(torch::allclose(in.attended().to(torch::kFloat64), expected.back(), 1e-5, 1e-5));
      CHECK(torch::allclose(to_float64(in).attended(), expected.back(), 1e-5, 1e-5));
    }
  }
}

TEST_CASE("attend: scores far apart neither overflow nor lose the nearest") {
  auto in = inputs(torch::kFloat32);
  in.q.mul_(100);
  in.bias.mul_(100);
  const auto expected = with_gradients(to_float64(in), formula);
  const auto found = with_gradients(in, std::mem_fn(&Inputs::attended));
  for (size_t i = 0; i < found.size(); ++i) CHECK(relative_difference(found[i], expected[i]) < 1e-4);
}

TEST_CASE("attend: what is no number shows where the formula shows it") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const float value : {nan, infinity}) {
    for (size_t i = 0; i < 4; ++i) {
      auto in = inputs(torch::kFloat32, 37, 37, 8);
      in.differentiable()[i]->select(0, 1).select(0, 20).slice(0, 3, 4).fill_(value);
      CHECK(torch::equal(in.attended().isnan(), formula(in).isnan()));
      const auto gradients = with_gradients(in, std::mem_fn(&Inputs::attended));
      CHECK_FALSE(gradients[1].isfinite().all().item<bool>());
    }
  }
}

TEST_CASE("attend: q, k and v of one tensor or two, as views or whole, in any layout") {
  const auto in = inputs(torch::kFloat32, 9, 9, 8);
  const auto expected = with_gradients(in, std::mem_fn(&Inputs::attended));
  const auto packed = [](const Inputs& x) { return attend({torch::cat({x.q, x.k, x.v}, 2)}, kHeads, x.bias); };
  const auto pair = [](const Inputs& x) { return attend({x.q, torch::cat({x.k, x.v}, 2)}, kHeads, x.bias); };
  const auto views = [](const Inputs& x) {
    const auto parts = torch::cat({x.v, x.q, x.k}, 2).chunk(3, 2);
    return attend({parts[1], parts[2], parts[0]}, kHeads, x.bias);
  };
  const auto strided = [](const Inputs& x) {
    const auto other = [](const torch::Tensor& y) { return y.permute({2, 0, 1}).contiguous().permute({1, 2, 0}); };
    return attend({other(x.q), other(x.k), other(x.v)}, kHeads, x.bias.transpose(1, 2).contiguous().transpose(1, 2));
  };
  for (const auto& found :
       {with_gradients(in, packed), with_gradients(in, pair), with_gradients(in, views), with_gradients(in, strided)})
    for (size_t i = 0; i < found.size(); ++i) CHECK(torch::equal(found[i], expected[i]));
}

TEST_CASE("attend: a trained bias and bf16 give what float32 gives, rounded") {
  auto in = inputs(torch::kFloat32, 9, 13, 8);
  for (auto* input : {&in.q, &in.k, &in.v}) *input = input->to(torch::kBFloat16);
  auto wide = in;
  for (auto* input : wide.differentiable()) *input = input->to(torch::kFloat32);
  const auto attend_wide = [](const Inputs& x) { return x.attended().to(torch::kBFloat16); };
  const auto expected = with_gradients(wide, attend_wide), found = with_gradients(in, std::mem_fn(&Inputs::attended));
  for (size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK((found[i].scalar_type() == (i == 3 ? torch::kFloat32 : torch::kBFloat16)));
    CHECK(torch::equal(found[i], expected[i].to(found[i].scalar_type())));
  }
}

TEST_CASE("attend: gradients of fewer inputs, and of an input used twice") {
  auto in = inputs(torch::kFloat32);
  const auto all = with_gradients(in, std::mem_fn(&Inputs::attended));
  for (size_t i = 0; i < 4; ++i) {
    auto some = in;
    auto& source = *some.differentiable()[i];
    source = source.clone().requires_grad_();
    const auto y = some.attended();
    const auto weight = torch::linspace(-1, 2, y.numel()).view_as(y);
    CHECK(torch::equal(torch::autograd::grad({(y * weight).sum()}, {source})[0], all[i]));
    const auto twice =
        torch::autograd::grad({(some.attended() * weight).sum() + (some.attended() * weight).sum()}, {source})[0];
    CHECK(torch::equal(twice, 2 * all[i]));
  }
}

TEST_CASE("attend: the same bits each time, whichever thread is first, and with as few queries") {
  auto in = inputs(torch::kFloat32, 197, 197, 16);
  for (auto* input : in.differentiable()) *input = input->repeat({input == &in.bias ? 1 : 4, 1, 1});
  const auto first = with_gradients(in, std::mem_fn(&Inputs::attended));
  for (int i = 0; i < 5; ++i) {
    const auto again = with_gradients(in, std::mem_fn(&Inputs::attended));
    for (size_t j = 0; j < first.size(); ++j) CHECK(torch::equal(again[j], first[j]));
  }
  in.tokens = torch::rand({8, 197}).argsort().slice(1, 0, 61);
  in.q = in.q.gather(1, in.tokens.unsqueeze(2).expand({-1, -1, in.q.size(2)}));
  const auto expected = first.back().gather(1, in.tokens.unsqueeze(2).expand({-1, -1, in.q.size(2)}));
  CHECK(torch::equal(in.attended(), expected));
}

TEST_CASE("attend: any number of threads finds the same result, and gradients but for the bias's rounding") {
  const int before = at::get_num_threads();
  const auto in = inputs(torch::kFloat32, 120, 120, 8);
  const auto expected = with_gradients(in, std::mem_fn(&Inputs::attended));
  for (const int threads : {1, 3, 4, 5, 16}) {
    CAPTURE(threads);
    at::set_num_threads(threads);
    const auto found = with_gradients(in, std::mem_fn(&Inputs::attended));
    for (const size_t i : {0, 1, 2, 4}) CHECK(torch::equal(found[i], expected[i]));
    CHECK(torch::allclose(found[3], expected[3], 1e-5, 1e-6));
  }
  at::set_num_threads(before);
}

TEST_CASE("attend: a gradient of the gradient is refused in float32") {
  auto in = inputs(torch::kFloat32);
  in.q.requires_grad_();
  CHECK_THROWS_WITH_AS(torch::autograd::grad({in.attended().sum()}, {in.q}, {}, {}, /*create_graph=*/true),
                       doctest::Contains("create_graph"), Error);
}

TEST_CASE("attend: shapes that do not fit are refused") {
  const auto refused = [](const Inputs& in, const std::string& what) {
    CAPTURE(what);
    CHECK_THROWS_WITH_AS(in.attended(), doctest::Contains(what.c_str()), Error);
  };
  for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
    const auto good = inputs(dtype, 3, 5);
    auto in = good;
    in.k = in.k.slice(1, 0, 4);
    refused(in, "[2, 4, 12]");
    in = good;
    in.bias = in.bias.slice(0, 0, 2);
    refused(in, "[2, 5, 5]");
    in = good;
    in.tokens = torch::Tensor();
    refused(in, "tokens");
    in = good;
    in.tokens = in.tokens.slice(0, 0, 1);
    refused(in, "tokens");
    in = good;
    in.tokens = in.tokens + 3;
    refused(in, "tokens");
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

TEST_CASE("attention: some tokens' rows and their gradients are those of all") {
  for (const auto relative_position : {RelPos::kNone, RelPos::kBlock}) {
    torch::manual_seed(6);
    Attention attention(small(relative_position));
    for (auto& parameter : attention->parameters()) parameter.detach().normal_();
    auto sources = attention->parameters();
    sources.push_back(torch::randn({2, 5, 12}).requires_grad_());
    const auto tokens_BQ = torch::tensor({{4, 0, 2}, {1, 2, 3}});
    const auto index_BQD = tokens_BQ.unsqueeze(2).expand({-1, -1, 12});
    const auto all = attention->forward(sources.back(), {}).gather(1, index_BQD);
    const auto some = attention->forward(sources.back(), {}, {}, tokens_BQ);
    CHECK(relative_difference(some, all) < 1e-6);
    const auto weight = torch::randn_like(all);
    const auto expected = torch::autograd::grad({(all * weight).sum()}, sources);
    const auto found = torch::autograd::grad({(some * weight).sum()}, sources);
    for (size_t i = 0; i < sources.size(); ++i) CHECK(torch::allclose(found[i], expected[i], 1e-5, 1e-5));
  }
}

TEST_CASE("attention: the weights that are shown are those by which values are summed") {
  const Inputs in = inputs(torch::kFloat64);
  const auto weights_BHQT = attention_weights(in.q, in.k, kHeads, in.bias);
  CHECK(weights_BHQT.sizes() == torch::IntArrayRef({2, kHeads, 5, 5}));
  const auto v_BHTd = in.v.unflatten(2, {kHeads, -1}).transpose(1, 2);
  CHECK(difference(torch::matmul(weights_BHQT, v_BHTd).transpose(1, 2).flatten(2), in.attended()) < 1e-6);
  CHECK_THROWS_WITH_AS(attention_weights(in.q, in.k, 5, {}), doctest::Contains("a multiple of 5 heads"), Error);

  for (const auto relative_position : {RelPos::kNone, RelPos::kBlock}) {
    torch::manual_seed(6);
    Attention attention(small(relative_position));
    const torch::NoGradGuard no_grad;
    for (auto& parameter : attention->parameters()) parameter.normal_();
    const auto x_BTD = torch::randn({2, 5, 12});
    const auto own = attention->named_parameters();
    const auto weights = attention->weights(x_BTD, {});
    const auto values_BTD = torch::linear(x_BTD, own["qkv.weight"].slice(0, 24), own["v_bias"]);
    const auto summed = torch::matmul(weights, values_BTD.unflatten(2, {weights.size(1), -1}).transpose(1, 2));
    const auto expected = attention->proj->forward(summed.transpose(1, 2).flatten(2));
    CHECK(relative_difference(expected, attention->forward(x_BTD, {})) < 1e-5);
  }
}

TEST_CASE("attention: a width that heads do not divide is refused") {
  CHECK_THROWS_WITH_AS(Attention(ViTOptions{.grid = {}, .width = 10, .heads = 3}), doctest::Contains("--heads"), Error);
}

}  // namespace
}  // namespace beit

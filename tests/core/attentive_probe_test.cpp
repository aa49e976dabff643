#include "core/attentive_probe.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "core/linear_sweep.h"

namespace beit {
namespace {

// Shape letters: M samples, N patches, D width, K classes.

/// One patch of eight is marked, and tells the class; the others are drawn so that the mean of all is the same noise
/// for both classes: one of them says the opposite, unmarked.
LabelledTokens marked_patch(int64_t samples, uint64_t seed) {
  torch::manual_seed(seed);
  auto tokens_MND = torch::randn({samples, 8, 8}) * 0.1;
  const auto labels_M = torch::arange(samples).remainder(2);
  const auto places_M2 = torch::rand({samples, 8}).argsort(1, /*descending=*/false).slice(1, 0, 2);
  for (int64_t m = 0; m < samples; ++m) {
    const double sign = labels_M[m].item<int64_t>() == 1 ? 2 : -2;
    auto told = tokens_MND[m][places_M2[m][0].item<int64_t>()],
         opposite = tokens_MND[m][places_M2[m][1].item<int64_t>()];
    told[0] += sign;
    told[1] += 2;
    opposite[0] -= sign;
    opposite[2] += 2;
  }
  return {tokens_MND, labels_M};
}

TEST_CASE("attentive probe: it finds the patch that tells the class where the mean tells nothing") {
  const auto train = marked_patch(400, 1), val = marked_patch(200, 2);
  const auto mean_of = [](const LabelledTokens& set) { return LabelledFeatures{set.tokens_MND.mean(1), set.labels_M}; };
  const auto by_mean = linear_sweep(mean_of(train), mean_of(val), 2, {.lrs = {0.3}, .batch_size = 64, .epochs = 20});
  CHECK(by_mean.front().top1 < 70);
  const AttentiveProbeOptions options{.lrs = {1e-6, 1e-2}, .heads = 2, .batch_size = 64, .epochs = 30};
  const auto results = attentive_probe(train, val, 2, options);
  REQUIRE(results.size() == 2);
  CHECK(results[1].top1 > 95);
  CHECK(results[1].held_out_top1 > 95);
  CHECK(results[0].held_out_top1 < 90);
  const LabelledTokens half{train.tokens_MND.to(torch::kFloat16), train.labels_M};
  CHECK(attentive_probe(half, val, 2, options)[1].top1 > 95);
}

TEST_CASE("attentive probe: what it computes is cross-attention of the query with keys and values of each token") {
  torch::manual_seed(5);
  AttentiveProbe probe(8, 2, 3);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : probe->parameters()) parameter.add_(0.3 * torch::randn_like(parameter));
  const auto tokens_BND = torch::randn({4, 5, 8});
  const auto p = probe->named_parameters();
  const auto z_BND = torch::layer_norm(tokens_BND, {8}, p["norm.weight"], p["norm.bias"], 1e-6);
  const auto heads = [](const torch::Tensor& x) { return x.view({4, 5, 2, 4}).transpose(1, 2); };
  const auto key = heads(z_BND.matmul(p["key.weight"].t()));
  const auto value = heads(z_BND.matmul(p["value.weight"].t()) + p["value.bias"]);
  const auto query = p["query"].view({1, 2, 1, 4}).expand({4, 2, 1, 4});
  const auto seen = torch::scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(1);
  const auto out =
      torch::linear(torch::linear(seen, p["proj.weight"], p["proj.bias"]), p["head.weight"], p["head.bias"]);
  CHECK(torch::allclose(probe->forward(tokens_BND), out, 1e-4, 1e-5));
}

TEST_CASE("attentive probe: every parameter has a gradient, and it is that of finite differences") {
  torch::manual_seed(6);
  AttentiveProbe probe(4, 2, 3);
  probe->to(torch::kFloat64);
  for (auto& parameter : probe->parameters()) {
    const torch::NoGradGuard no_grad;
    parameter.add_(0.5 * torch::randn_like(parameter));
  }
  const auto tokens_BND = torch::randn({3, 4, 4}, torch::kFloat64);
  const auto labels_B = torch::tensor({0, 2, 1});
  const auto loss = [&] { return torch::cross_entropy_loss(probe->forward(tokens_BND), labels_B); };
  loss().backward();
  const torch::NoGradGuard no_grad;
  for (auto& entry : probe->named_parameters()) {
    CAPTURE(entry.key());
    auto values = entry.value().flatten();
    const double before = values[1].item<double>();
    const auto at = [&](double value) {
      values[1].fill_(value);
      return loss().item<double>();
    };
    const double slope = (at(before + 1e-5) - at(before - 1e-5)) / 2e-5;
    values[1].fill_(before);
    CHECK(entry.value().grad().flatten()[1].item<double>() == doctest::Approx(slope).epsilon(1e-4));
    CHECK(entry.value().grad().abs().max().item<double>() > 1e-6);
  }
}

TEST_CASE("attentive probe: what does not fit is refused") {
  const auto train = marked_patch(20, 1);
  CHECK_THROWS_WITH_AS(attentive_probe(train, train, 2, {.heads = 3}), doctest::Contains("divide"), Error);
  CHECK_THROWS_AS(attentive_probe(train, train, 1), Error);
  CHECK_THROWS_AS(attentive_probe(train, {train.tokens_MND.slice(1, 1), train.labels_M}, 2), Error);
  CHECK_THROWS_AS(attentive_probe(train, train, 2, {.lrs = {}}), Error);
  const LabelledTokens large{(train.tokens_MND * 1e6).to(torch::kFloat16), train.labels_M};
  CHECK_THROWS_WITH_AS(attentive_probe(large, train, 2, {.heads = 2}), doctest::Contains("finite"), Error);
}

}  // namespace
}  // namespace beit

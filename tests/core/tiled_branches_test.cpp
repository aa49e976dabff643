// Shape letters: B images, T tokens, D width, H hidden width, h heads.
#include "core/tiled_branches.h"

#include "base/error.h"
#include "core/attention.h"
#include "core/block.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

using torch::Tensor;

constexpr int64_t kWidth = 24, kHeads = 2;

/// What comes out, then the gradients of all leaves.
std::vector<Tensor> pass(const std::function<Tensor()>& forward, const std::vector<Tensor>& leaves) {
  for (const auto& leaf : leaves) leaf.mutable_grad().reset();
  const auto y = forward();
  torch::manual_seed(3);
  y.backward(torch::randn_like(y));
  std::vector<Tensor> found{y.detach()};
  for (const auto& leaf : leaves) found.push_back(leaf.grad().clone());
  return found;
}

void check_equal(const std::vector<Tensor>& ours, const std::vector<Tensor>& theirs) {
  for (size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i);
    CHECK(relative_difference(ours[i], theirs[i]) < 1e-5);
  }
}

Tensor scaled(const Tensor& branch, const Tensor& scale_D) { return scale_D.defined() ? branch * scale_D : branch; }

torch::nn::LayerNorm random_norm() {
  auto norm = layer_norm(kWidth);
  const torch::NoGradGuard no_grad;
  norm->weight.normal_(1, 0.3);
  norm->bias.normal_();
  return norm;
}

struct MlpParts {
  torch::nn::LayerNorm norm = random_norm();
  torch::nn::Linear fc1{kWidth, 40}, fc2{40, kWidth};
};

struct AttentionParts {
  torch::nn::LayerNorm norm = random_norm();
  Tensor weight = torch::randn({3 * kWidth, kWidth}).mul_(0.3).requires_grad_(),
         bias = torch::randn({3 * kWidth}).requires_grad_();
  torch::nn::Linear proj{kWidth, kWidth};
};

TEST_CASE("tiled branches: the MLP's values and gradients are those of its operations one by one") {
  torch::manual_seed(11);
  const MlpParts parts;
  for (const int64_t tokens : {1, 43, 64}) {  // less than a tile, not whole tiles, whole tiles
    for (const auto& scale_D : {torch::randn({kWidth}).requires_grad_(), Tensor()}) {
      CAPTURE(tokens);
      const auto x_BTD = torch::randn({4, tokens, kWidth}).requires_grad_();
      std::vector<Tensor> leaves{x_BTD,           parts.norm->weight, parts.norm->bias, parts.fc1->weight,
                                 parts.fc1->bias, parts.fc2->weight,  parts.fc2->bias};
      if (scale_D.defined()) leaves.push_back(scale_D);
      auto [norm, fc1, fc2] = parts;
      const auto tiled = [&] { return tiled_mlp_branch(x_BTD, norm, fc1, fc2, scale_D); };
      const auto ours = pass(tiled, leaves);
      check_equal(ours, pass([&] { return x_BTD + scaled(fc2(torch::gelu(fc1(norm(x_BTD)))), scale_D); }, leaves));
      CHECK(torch::equal(pass(tiled, leaves)[3], ours[3]));
      const torch::NoGradGuard no_grad;
      CHECK(torch::equal(tiled(), ours[0]));
    }
  }
}

TEST_CASE("tiled branches: attention's values and gradients are those of its operations one by one") {
  torch::manual_seed(12);
  const AttentionParts parts;
  for (const int64_t tokens : {2, 5, 70}) {
    for (const bool whole : {true, false}) {
      CAPTURE(tokens);
      const auto x_BTD = torch::randn({3, tokens, kWidth}).requires_grad_();
      const auto bias_hTT = whole ? torch::randn({kHeads, tokens, tokens}).requires_grad_() : Tensor();
      const auto scale_D = whole ? torch::randn({kWidth}).requires_grad_() : Tensor();
      std::vector<Tensor> leaves{x_BTD,      parts.norm->weight, parts.norm->bias, parts.weight,
                                 parts.bias, parts.proj->weight, parts.proj->bias};
      if (whole) leaves.insert(leaves.end(), {bias_hTT, scale_D});
      auto norm = parts.norm;
      auto proj = parts.proj;
      const auto tiled = [&] {
        return tiled_attention_branch(x_BTD, norm, parts.weight, parts.bias, proj, scale_D, kHeads, bias_hTT);
      };
      const auto ours = pass(tiled, leaves);
      check_equal(ours, pass(
                            [&] {
                              const auto qkv = torch::linear(norm(x_BTD), parts.weight, parts.bias);
                              return x_BTD + scaled(proj(attend({qkv}, kHeads, bias_hTT)), scale_D);
                            },
                            leaves));
      CHECK(torch::equal(pass(tiled, leaves)[3], ours[3]));
      const torch::NoGradGuard no_grad;
      CHECK(torch::equal(tiled(), ours[0]));
    }
  }
}

TEST_CASE("tiled branches: biases and norms alone may be trained") {
  torch::manual_seed(13);
  MlpParts mlp;
  AttentionParts attention;
  for (const auto& layer : {mlp.fc1, mlp.fc2, attention.proj}) layer->weight.requires_grad_(false);
  attention.weight.requires_grad_(false);
  const auto x_BTD = torch::randn({2, 5, kWidth});
  check_equal(pass([&] { return tiled_mlp_branch(x_BTD, mlp.norm, mlp.fc1, mlp.fc2, {}); },
                   {mlp.norm->weight, mlp.fc1->bias, mlp.fc2->bias}),
              pass([&] { return x_BTD + mlp.fc2(torch::gelu(mlp.fc1(mlp.norm(x_BTD)))); },
                   {mlp.norm->weight, mlp.fc1->bias, mlp.fc2->bias}));
  CHECK(!mlp.fc1->weight.grad().defined());
  const auto y_BTD =
      tiled_attention_branch(x_BTD, attention.norm, attention.weight, attention.bias, attention.proj, {}, kHeads, {});
  y_BTD.sum().backward();
  CHECK(attention.bias.grad().defined());
  CHECK(!attention.weight.grad().defined());
}

TEST_CASE("tiled branches: a backward pass that is to be differentiated is refused") {
  MlpParts parts;
  const auto x_BTD = torch::randn({2, 5, kWidth}).requires_grad_();
  const auto loss = tiled_mlp_branch(x_BTD, parts.norm, parts.fc1, parts.fc2, {}).sum();
  CHECK_THROWS_WITH_AS(loss.backward({}, /*keep_graph=*/{}, /*create_graph=*/true), doctest::Contains("create_graph"),
                       Error);
}

TEST_CASE("tiled branches: wide layers, long images, other types and too few images for the threads go another way") {
  CHECK(suits_tiled_mlp(torch::zeros({1, 5, 128}), 512) == suits_tiled_attention(torch::zeros({64, 5, 128})));
  CHECK(!suits_tiled_mlp(torch::zeros({1, 5, 768}), 3072));
  CHECK(!suits_tiled_mlp(torch::zeros({1, 5, 128}, torch::kFloat64), 512));
  CHECK(!suits_tiled_attention(torch::zeros({64, 5, 768})));
  CHECK(!suits_tiled_attention(torch::zeros({64, 1025, 128})));
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  CHECK(!suits_tiled_attention(torch::zeros({1, 5, 128})));
  CHECK(!suits_tiled_attention(torch::zeros({3, 5, 128})));
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace beit

// Shape letters: B images, T tokens, Q tokens asked for, D width.
#include "core/block.h"

#include <cmath>

#include "base/error.h"
#include "core/masked_tokens.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

ViTOptions small(double layer_scale = 0) {
  return {.grid = {2, 2}, .width = 8, .heads = 2, .layer_scale = layer_scale};
}

TEST_CASE("block: the rate of stochastic depth rises linearly from 0 to the last block's") {
  const auto rates = drop_path_rates(0.3, 4);
  for (size_t i = 0; i < 4; ++i) CHECK(rates[i] == doctest::Approx(0.1 * static_cast<double>(i)));
  CHECK(drop_path_rates(0.3, 1) == std::vector<double>{0.0});
  CHECK(drop_path_rates(0, 3) == std::vector<double>(3, 0.0));
}

TEST_CASE("block: stochastic depth leaves out a sample's branch or scales it, each branch for itself") {
  torch::manual_seed(6);
  constexpr double kRate = 0.25;
  constexpr int64_t kImages = 400;
  Block dropping(small(), kRate), keeping(small(), 0.0);
  load_state_dict_strict(*keeping, state_dict(*dropping), "copy");
  const torch::NoGradGuard no_grad;
  const auto x_BTD = torch::randn({1, 5, 8}).expand({kImages, 5, 8});
  const auto out_BTD = dropping->forward(x_BTD, {});

  // The four fates of a sample: neither branch, attention alone, the MLP alone, both.
  auto tensors = state_dict(*keeping);
  auto proj = tensors.at("attn.proj.weight"), fc2 = tensors.at("mlp.fc2.weight");
  auto proj_bias = tensors.at("attn.proj.bias"), fc2_bias = tensors.at("mlp.fc2.bias");
  const auto whole_proj = proj.clone(), whole_fc2 = fc2.clone(), whole_proj_bias = proj_bias.clone(),
             whole_fc2_bias = fc2_bias.clone();
  int64_t seen = 0;
  for (const double attention : {0.0, 1 / (1 - kRate)}) {
    for (const double mlp : {0.0, 1 / (1 - kRate)}) {
      proj.copy_(whole_proj * attention);
      proj_bias.copy_(whole_proj_bias * attention);
      fc2.copy_(whole_fc2 * mlp);
      fc2_bias.copy_(whole_fc2_bias * mlp);
      const auto expected_BTD = keeping->forward(x_BTD.slice(0, 0, 1), {});
      const auto same_B = (out_BTD - expected_BTD).abs().amax({1, 2}).lt(1e-5);
      const double share = same_B.to(torch::kFloat64).mean().item<double>();
      const double expected_share = (attention == 0 ? kRate : 1 - kRate) * (mlp == 0 ? kRate : 1 - kRate);
      CAPTURE(attention);
      CAPTURE(mlp);
      CHECK(std::abs(share - expected_share) < 4 * std::sqrt(expected_share / kImages));
      seen += same_B.sum().item<int64_t>();
    }
  }
  CHECK(seen == kImages);
}

TEST_CASE("block: what is left out costs nothing and leaves gradients as multiplying by zero does") {
  constexpr double kRate = 0.6;
  for (const int64_t images : {1, 2, 9}) {  // of one image often nothing is left
    for (const bool scaled : {true, false}) {
      CAPTURE(images);
      torch::manual_seed(60);
      Block dropping(small(scaled ? 0.1 : 0.0), kRate), keeping(small(scaled ? 0.1 : 0.0), 0.0);
      load_state_dict_strict(*keeping, state_dict(*dropping), "copy");
      for (uint64_t seed = 0; seed < 6; ++seed) {
        const auto x_BTD = torch::randn({images, 5, 8}).requires_grad_(), grad_BTD = torch::randn({images, 5, 8});
        torch::manual_seed(seed);
        const auto out_BTD = dropping->forward(x_BTD, {});
        out_BTD.backward(grad_BTD);
        torch::manual_seed(seed);
        const auto kept = [&] {
          return torch::rand({images}).ge(kRate).to(torch::kFloat32).view({-1, 1, 1}) / (1 - kRate);
        };
        const auto attn_B11 = kept(), mlp_B11 = kept();

        // The same by the whole block's branches: x + (block(x) - x), each branch by itself.
        const auto tensors = keeping->named_modules();
        const auto norm = [&](const char* name) { return tensors[name]->as<torch::nn::LayerNormImpl>(); };
        const auto gamma = [&](const char* name, const torch::Tensor& branch) {
          return scaled ? branch * keeping->named_parameters()[name] : branch;
        };
        const auto y_BTD = x_BTD.detach().requires_grad_();
        const auto z_BTD = y_BTD + attn_B11 * gamma("gamma_1", tensors["attn"]->as<AttentionImpl>()->forward(
                                                                   norm("norm1")->forward(y_BTD), {}));
        const auto expected_BTD =
            z_BTD + mlp_B11 * gamma("gamma_2", tensors["mlp"]->as<MlpImpl>()->forward(norm("norm2")->forward(z_BTD)));
        expected_BTD.backward(grad_BTD);
        CHECK(difference(out_BTD, expected_BTD) < 1e-5);
        CHECK(difference(x_BTD.grad(), y_BTD.grad()) < 1e-5);
        for (const auto& item : dropping->named_parameters()) {
          CAPTURE(item.key());
          REQUIRE(item.value().grad().defined());
          CHECK(difference(item.value().grad(), keeping->named_parameters()[item.key()].grad()) < 1e-4);
        }
        dropping->zero_grad();
        keeping->zero_grad();
      }
    }
  }
}

TEST_CASE("block: asked for some tokens it gives theirs, with the same gradients") {
  torch::manual_seed(61);
  ViTOptions options = small(0.1);
  options.relative_position = RelPos::kBlock;
  for (const bool recompute : {false, true}) {
    Block block(options, 0.0);
    block->set_recompute(recompute);
    const auto tokens_BQ = torch::tensor({{0, 3}, {4, 1}, {2, 0}}, torch::kInt64);
    const auto x_BTD = torch::randn({3, 5, 8}).requires_grad_(), grad_BQD = torch::randn({3, 2, 8});
    const auto some_BQD = block->forward(x_BTD, {}, {}, {}, tokens_BQ);
    some_BQD.backward(grad_BQD);
    std::map<std::string, torch::Tensor> some_grads{{"x", x_BTD.grad().clone()}};
    for (const auto& item : block->named_parameters()) some_grads[item.key()] = item.value().grad().clone();
    block->zero_grad();
    x_BTD.mutable_grad().reset();

    const auto all_BQD = take_tokens(block->forward(x_BTD, {}), tokens_BQ);
    all_BQD.backward(grad_BQD);
    CHECK(difference(some_BQD, all_BQD) < 1e-6);
    CHECK(difference(some_grads["x"], x_BTD.grad()) < 1e-5);
    for (const auto& item : block->named_parameters()) {
      CAPTURE(item.key());
      CHECK(difference(some_grads[item.key()], item.value().grad()) < 1e-5);
    }
  }
}

TEST_CASE("block: no stochastic depth in eval()") {
  torch::manual_seed(7);
  Block dropping(small(), 0.9), keeping(small(), 0.0);
  load_state_dict_strict(*keeping, state_dict(*dropping), "copy");
  dropping->eval();
  const auto x_BTD = torch::randn({3, 5, 8});
  CHECK(torch::equal(dropping->forward(x_BTD, {}), keeping->forward(x_BTD, {})));
}

TEST_CASE("block: layer scale multiplies both branches, 0 leaves the gammas out") {
  torch::manual_seed(8);
  Block plain(small(), 0.0), scaled(small(0.1), 0.0);
  CHECK(!state_dict(*plain).contains("gamma_1"));
  auto tensors = state_dict(*scaled);
  CHECK(torch::equal(tensors.at("gamma_1"), torch::full({8}, 0.1)));
  CHECK(torch::equal(tensors.at("gamma_2"), torch::full({8}, 0.1)));
  load_state_dict(*plain, tensors);
  tensors.at("gamma_1").fill_(1);
  tensors.at("gamma_2").fill_(1);
  const auto x_BTD = torch::randn({3, 5, 8});
  CHECK(difference(scaled->forward(x_BTD, {}), plain->forward(x_BTD, {})) < 1e-6);
  tensors.at("gamma_1").zero_();
  tensors.at("gamma_2").zero_();
  CHECK(torch::equal(scaled->forward(x_BTD, {}), x_BTD));
}

TEST_CASE("block: rescale() divides the weights that end a branch by sqrt(2 number)") {
  Block block(small(), 0.0);
  const auto tensors = state_dict(*block);
  std::map<std::string, torch::Tensor> before;
  for (const auto& [name, tensor] : tensors) before.emplace(name, tensor.clone());
  block->rescale(3);
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    const bool ends_a_branch = name == "attn.proj.weight" || name == "mlp.fc2.weight";
    const auto expected = ends_a_branch ? before.at(name) / std::sqrt(6.0) : before.at(name);
    CHECK(difference(tensor, expected) < 1e-7);
  }
}

TEST_CASE("block: GELU is the exact form") {
  Mlp mlp(1, 1);
  for (auto& [name, tensor] : state_dict(*mlp)) tensor.fill_(name.ends_with("weight") ? 1 : 0);
  for (const double x : {-1.5, -0.2, 0.7, 2.0}) {
    const double expected = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    CHECK(mlp->forward(torch::full({1}, x)).item<double>() == doctest::Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("block: a rate outside [0, 1) is refused") {
  CHECK_THROWS_WITH_AS(Block(small(), 1.0), doctest::Contains("--drop-path"), Error);
  CHECK_THROWS_AS(Block(small(), -0.1), Error);
}

}  // namespace
}  // namespace beit

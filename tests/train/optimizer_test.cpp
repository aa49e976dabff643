#include "train/optimizer.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "core/classifier.h"
#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

Classifier small_classifier() {
  torch::manual_seed(71);
  return Classifier(ClassifierOptions{.vit = {.grid = {2, 2},
                                              .patch_size = 4,
                                              .width = 16,
                                              .depth = 3,
                                              .heads = 2,
                                              .layer_scale = 0.1,
                                              .absolute_position = false,
                                              .relative_position = RelPos::kBlock},
                                      .classes = 10});
}

void backward(Classifier& model) {
  const auto images_BCHW = torch::randn({4, 3, 8, 8});
  torch::cross_entropy_loss(model->forward(images_BCHW), torch::arange(4)).backward();
}

TEST_CASE("optimizer: layer, rate and weight decay of every parameter equal the oracle's groups") {
  const auto groups = nlohmann::json::parse(read_safetensors(golden("classifier.safetensors")).metadata.at("groups"));
  auto model = small_classifier();  // the golden file's names
  const auto parameters = model->named_parameters();
  REQUIRE(groups.size() == parameters.size());
  for (const auto& [name, group] : groups.items()) {
    CAPTURE(name);
    CHECK(layer_of(name, 3) == group["layer"].get<int64_t>());
    CHECK(decays(name, parameters[name]) == group["decay"].get<bool>());
  }
}

TEST_CASE("optimizer: names of pre-training and of both towers of a tokenizer") {
  const auto matrix = torch::zeros({2, 2}), vector = torch::zeros({2}), token = torch::zeros({1, 1, 2});
  CHECK(layer_of("mask_token", 12) == 0);
  CHECK(layer_of("pos_embed", 12) == 0);
  CHECK(layer_of("patch_embed.proj.bias", 12) == 0);
  CHECK(layer_of("blocks.11.mlp.fc2.weight", 12) == 12);
  CHECK(layer_of("rel_pos_bias.relative_position_bias_table", 12) == 13);
  CHECK(layer_of("cls_pt_layers.0.norm1.weight", 12) == 13);
  CHECK(layer_of("lm_head.weight", 12) == 13);
  CHECK(decays("mask_token", token));
  CHECK(decays("rel_pos_bias.relative_position_bias_table", matrix));
  CHECK(decays("encode_task_layer.0.weight", matrix));
  CHECK(!decays("encode_task_layer.0.bias", matrix));
  CHECK(!decays("blocks.0.attn.q_bias", vector));
  for (const std::string tower : {"", "encoder.", "decoder."}) {
    CHECK(!decays(tower + "cls_token", token));
    CHECK(!decays(tower + "pos_embed", token));
    CHECK(decays(tower + "patch_embed.proj.weight", matrix));
  }
}

TEST_CASE("optimizer: steps equal torch::optim::AdamW's, group by group") {
  auto ours = small_classifier(), theirs = small_classifier();
  AdamW optimizer(*ours, {.beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.3, .layers = {.rate = 0.65, .depth = 3}});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  std::vector<double> scales;
  for (const auto& parameter : theirs->named_parameters()) {
    auto options = std::make_unique<torch::optim::AdamWOptions>();
    options->betas({0.9, 0.95}).eps(1e-8).weight_decay(decays(parameter.key(), parameter.value()) ? 0.3 : 0.0);
    groups.emplace_back(std::vector<torch::Tensor>{parameter.value()}, std::move(options));
    scales.push_back(std::pow(0.65, 4 - layer_of(parameter.key(), 3)));
  }
  torch::optim::AdamW reference(groups, torch::optim::AdamWOptions());
  for (int step = 0; step < 3; ++step) {
    const double lr = 0.01 * (step + 1);
    optimizer.zero_grad();
    reference.zero_grad();
    torch::manual_seed(static_cast<uint64_t>(80 + step));
    backward(ours);
    const auto expected = theirs->named_parameters();
    for (const auto& parameter :
         ours->named_parameters())  // equal ones, as a step magnifies the rounding of small ones
      expected[parameter.key()].mutable_grad() = parameter.value().grad().clone();
    optimizer.step(lr);
    for (size_t i = 0; i < scales.size(); ++i) {
      static_cast<torch::optim::AdamWOptions&>(reference.param_groups()[i].options()).lr(lr * scales[i]);
    }
    reference.step();
    for (const auto& parameter : ours->named_parameters()) {
      CAPTURE(parameter.key());
      CHECK(difference(parameter.value(), expected[parameter.key()].detach()) < 1e-6);
    }
  }
}

TEST_CASE(
    "optimizer: grad_scale scales gradients, also of another type or layout, beyond what a thread takes at once") {
  struct Large : torch::nn::Module {
    torch::Tensor flat, turned, precise;
    Large() {
      flat = register_parameter("flat", torch::randn({3, 50'001}));
      turned = register_parameter("turned", torch::randn({30, 20}).t());
      precise = register_parameter("precise", torch::randn({4, 10}, torch::kFloat64));
    }
  };
  torch::manual_seed(90);
  Large scaled, expected;
  load_state_dict_strict(expected, state_dict(scaled), "copy");
  AdamW ours(scaled, {});
  torch::optim::AdamW theirs(expected.parameters(),
                             torch::optim::AdamWOptions().betas({0.9, 0.98}).eps(1e-8).weight_decay(0.05));
  for (int step = 0; step < 3; ++step) {
    double squares = 0;
    for (const auto& parameter : scaled.named_parameters()) {
      const auto grad = torch::randn_like(parameter.value());
      squares += grad.square().sum().item<double>();
      parameter.value().mutable_grad() = grad.clone();
      expected.named_parameters()[parameter.key()].mutable_grad() = grad * 0.01;
    }
    CHECK(ours.grad_norm().item<double>() == doctest::Approx(std::sqrt(squares)).epsilon(1e-5));
    static_cast<torch::optim::AdamWOptions&>(theirs.param_groups()[0].options()).lr(0.01);
    ours.step(0.01, 0.01);
    theirs.step();
    for (const auto& parameter : scaled.named_parameters()) {
      CAPTURE(parameter.key());
      CHECK(difference(parameter.value(), expected.named_parameters()[parameter.key()].detach()) < 1e-6);
    }
  }
}

TEST_CASE("optimizer: norm and step are the same to the bit with any number of threads") {
  const int threads = at::get_num_threads();
  std::vector<double> norms;
  std::vector<torch::Tensor> weights;
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    torch::manual_seed(91);
    torch::nn::Linear model(300, 700);
    AdamW optimizer(*model, {});
    for (auto& parameter : model->parameters()) parameter.mutable_grad() = torch::randn_like(parameter);
    norms.push_back(optimizer.grad_norm().item<double>());
    optimizer.step(0.01, 0.5);
    weights.push_back(model->weight.detach());
  }
  at::set_num_threads(threads);
  for (size_t i = 1; i < norms.size(); ++i) {
    CHECK(norms[i] == norms[0]);
    CHECK(torch::equal(weights[i], weights[0]));
  }
}

TEST_CASE("optimizer: without gradient a parameter stays, decay or not; one that needs none takes no part") {
  auto model = small_classifier();
  for (auto& parameter : model->named_parameters()) {
    if (parameter.key() == "cls_token") parameter.value().set_requires_grad(false);
  }
  AdamW optimizer(*model, {.weight_decay = 0.5});
  const auto before = model->named_parameters()["head.weight"].detach().clone();
  optimizer.step(0.1);
  CHECK(torch::equal(model->named_parameters()["head.weight"], before));
  CHECK(!optimizer.state().contains("exp_avg.cls_token"));
  CHECK(optimizer.state().contains("exp_avg.head.weight"));
}

TEST_CASE("optimizer: grad_norm() is that of all gradients together, zero_grad() ends them") {
  auto model = small_classifier();
  AdamW optimizer(*model, {});
  CHECK(optimizer.grad_norm().item<double>() == 0);
  backward(model);
  std::vector<torch::Tensor> flat;
  for (const auto& parameter : model->parameters()) flat.push_back(parameter.grad().flatten());
  const double norm = torch::cat(flat).norm().item<double>();
  CHECK(optimizer.grad_norm().item<double>() == doctest::Approx(norm).epsilon(1e-5));
  optimizer.zero_grad();
  CHECK(optimizer.grad_norm().item<double>() == 0);
}

TEST_CASE("optimizer: a state given to a fresh optimizer goes on as if it had never stopped") {
  auto unbroken = small_classifier(), resumed = small_classifier();
  AdamW first(*unbroken, {});
  const auto step = [](Classifier& model, AdamW& optimizer, uint64_t seed) {
    torch::manual_seed(seed);
    optimizer.zero_grad();
    backward(model);
    optimizer.step(0.01);
  };
  for (uint64_t i = 0; i < 2; ++i) step(unbroken, first, i);
  load_state_dict_strict(*resumed, state_dict(*unbroken), "copy");
  AdamW second(*resumed, {});
  second.set_state(first.state());
  CHECK(second.state().at("step").item<double>() == 2);
  for (uint64_t i = 2; i < 4; ++i) {
    step(unbroken, first, i);
    step(resumed, second, i);
  }
  const auto expected = state_dict(*unbroken);
  for (const auto& [name, tensor] : state_dict(*resumed)) CHECK(torch::equal(tensor, expected.at(name)));
}

TEST_CASE("optimizer: a state of another model, or a model with nothing to train, is refused") {
  auto model = small_classifier();
  AdamW optimizer(*model, {});
  auto state = optimizer.state();
  state.at("exp_avg.head.weight") = torch::zeros({3, 16});
  CHECK_THROWS_WITH_AS(optimizer.set_state(state), doctest::Contains("'exp_avg.head.weight' [10, 16], got [3, 16]"),
                       Error);
  state.erase("exp_avg.head.weight");
  CHECK_THROWS_WITH_AS(optimizer.set_state(state), doctest::Contains("got none"), Error);
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(false);
  CHECK_THROWS_AS(AdamW(*model, {}), Error);
}

}  // namespace
}  // namespace beit

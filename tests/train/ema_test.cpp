#include "train/ema.h"

#include "base/error.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

TEST_CASE("ema: averages follow the weights as the decay says, and frozen ones have none") {
  torch::manual_seed(3);
  torch::nn::Linear model(3, 2);
  model->bias.requires_grad_(false);
  const auto first = model->weight.detach().clone();
  Ema ema(*model, 0.9);
  auto expected = first.clone();
  for (int step = 0; step < 3; ++step) {
    const torch::NoGradGuard no_grad;
    model->weight.add_(1.0);
    ema.update();
    expected = 0.9 * expected + 0.1 * model->weight;
  }
  const auto state = ema.state();
  CHECK(state.size() == 1);
  CHECK(torch::allclose(state.at("weight"), expected, 1e-6, 1e-7));
}

TEST_CASE("ema: batch norm's statistics are averaged with the weights that they belong to, counts are not") {
  torch::nn::BatchNorm1d model(2);
  Ema ema(*model, 0.5);
  {
    const torch::NoGradGuard no_grad;
    model->running_mean.fill_(4.0);
  }
  ema.update();
  const auto state = ema.state();
  CHECK(torch::equal(state.at("running_mean"), torch::full({2}, 2.0)));
  CHECK(torch::equal(state.at("running_var"), torch::ones({2})));
  CHECK(!state.contains("num_batches_tracked"));
}

TEST_CASE("ema: exchanged twice, the model is as before") {
  torch::nn::Linear model(3, 2);
  Ema ema(*model, 0.5);
  {
    const torch::NoGradGuard no_grad;
    model->weight.fill_(2.0);
  }
  const auto average = ema.state().at("weight").clone();
  ema.exchange();
  CHECK(torch::equal(model->weight, average));
  ema.exchange();
  CHECK(torch::equal(model->weight, torch::full({2, 3}, 2.0)));
  CHECK(torch::equal(ema.state().at("weight"), average));
}

TEST_CASE("ema: a state goes on in another object, and another model's is an error") {
  torch::nn::Linear model(3, 2), other(4, 2);
  Ema ema(*model, 0.5);
  {
    const torch::NoGradGuard no_grad;
    model->weight.zero_();
  }
  ema.update();
  Ema resumed(*model, 0.5);
  resumed.set_state(ema.state());
  CHECK(torch::equal(resumed.state().at("weight"), ema.state().at("weight")));
  Ema another(*other, 0.5);
  CHECK_THROWS_WITH_AS(another.set_state(ema.state()), doctest::Contains("expected the average of"), Error);
  CHECK_THROWS_WITH_AS(Ema(*model, 1.0), doctest::Contains("--ema-decay"), Error);
}

}  // namespace
}  // namespace beit

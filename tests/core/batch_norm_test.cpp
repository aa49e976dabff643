// Shape letters: B images, C channels, H height, W width.
#include "core/batch_norm.h"

#include "base/error.h"
#include "tests/core/autocast.h"
#include "tests/core/golden.h"
#include "tests/core/simulated_ranks.h"

namespace beit {
namespace {

constexpr int64_t kChannels = 4;

/// The same weights in each, and none of them 0 or 1.
void fill(BatchNorm& norm) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(50);
  for (auto& parameter : norm->parameters()) parameter.copy_(torch::randn({kChannels}));
}

torch::Tensor buffer(const BatchNorm& norm, const char* name) { return norm->named_buffers()[name]; }

TEST_CASE("batch norm: on one rank it is LibTorch's own, but for statistics that wait for update_statistics()") {
  BatchNorm norm(kChannels);
  fill(norm);
  torch::nn::BatchNorm2d other(kChannels);
  load_state_dict_strict(*other, state_dict(*norm), "batch norm");
  for (int step = 0; step < 2; ++step) {
    const auto x_BCHW = torch::randn({3, kChannels, 5, 6}) * 2 + 1;
    norm->forward(x_BCHW * 9);
    norm->discard_statistics();  // a step that is not taken
    auto ours_BCHW = x_BCHW.clone().requires_grad_(), theirs_BCHW = x_BCHW.clone().requires_grad_();
    const auto y_BCHW = norm->forward(ours_BCHW), expected_BCHW = other->forward(theirs_BCHW);
    CHECK(torch::equal(y_BCHW, expected_BCHW));
    y_BCHW.square().sum().backward();
    expected_BCHW.square().sum().backward();
    CHECK(torch::equal(ours_BCHW.grad(), theirs_BCHW.grad()));
    CHECK(buffer(norm, "num_batches_tracked").item<int64_t>() == step);
    norm->update_statistics();
    norm->update_statistics();  // nothing is left
    for (const auto& found : norm->named_buffers()) {
      CAPTURE(found.key());
      CHECK(difference(found.value(), other->named_buffers()[found.key()]) < 1e-6);
    }
  }
  norm->eval();
  other->eval();
  const auto x_BCHW = torch::randn({2, kChannels, 3, 3});
  CHECK(difference(norm->forward(x_BCHW), other->forward(x_BCHW)) < 1e-6);
  norm->update_statistics();
  CHECK(buffer(norm, "num_batches_tracked").item<int64_t>() == 2);  // eval() notes nothing
}

TEST_CASE("batch norm: ranks with parts of a batch give the outputs, statistics and gradients of one with all") {
  torch::manual_seed(51);
  const auto x_BCHW = torch::randn({7, kChannels, 5, 3}, torch::kFloat64) * 3 + 40;
  const auto weight_BCHW = torch::randn_like(x_BCHW);  // of each output in the loss
  BatchNorm whole(kChannels);
  fill(whole);
  whole->to(torch::kFloat64);
  auto all_BCHW = x_BCHW.clone().requires_grad_();
  const auto expected_BCHW = whole->forward(all_BCHW);
  (expected_BCHW.square() * weight_BCHW).sum().backward();
  whole->update_statistics();

  for (const auto& borders : {std::vector<int64_t>{0, 1, 7}, {0, 3, 4, 7}, {0, 2, 4, 5, 7}}) {
    const auto size = static_cast<int64_t>(borders.size()) - 1;
    CAPTURE(size);
    SimulatedRanks simulated(size);
    std::vector<BatchNorm> norms;
    std::vector<torch::Tensor> inputs(static_cast<size_t>(size)), outputs(static_cast<size_t>(size));
    for (int64_t rank = 0; rank < size; ++rank) {
      norms.emplace_back(kChannels, simulated.ranks(rank));
      fill(norms.back());
      norms.back()->to(torch::kFloat64);
    }
    simulated.run([&](int64_t rank) {
      const auto at = static_cast<size_t>(rank);
      inputs[at] = x_BCHW.slice(0, borders[at], borders[at + 1]).clone().requires_grad_();
      outputs[at] = norms[at]->forward(inputs[at]);
      (outputs[at].square() * weight_BCHW.slice(0, borders[at], borders[at + 1])).sum().backward();
      norms[at]->update_statistics();
    });
    CHECK(difference(torch::cat(outputs), expected_BCHW) < 1e-12);
    std::vector<torch::Tensor> gradients;
    for (const auto& input : inputs) gradients.push_back(input.grad());
    CHECK(difference(torch::cat(gradients), all_BCHW.grad()) < 1e-12);
    for (const auto& parameter : whole->named_parameters()) {  // the training loop adds those of all ranks
      auto sum = torch::zeros_like(parameter.value());
      for (const auto& norm : norms) sum += norm->named_parameters()[parameter.key()].grad();
      CHECK(relative_difference(sum, parameter.value().grad()) < 1e-12);
    }
    for (const auto& norm : norms) {
      for (const auto& found : whole->named_buffers()) {
        CHECK(difference(norm->named_buffers()[found.key()], found.value()) < 1e-12);
      }
    }
  }
}

TEST_CASE("batch norm: values far from zero lose nothing over ranks, nor do half-precision ones their statistics") {
  torch::manual_seed(52);
  const auto x_BCHW = torch::randn({4, kChannels, 16, 16}) + 3000;
  SimulatedRanks simulated(2);
  std::vector<torch::Tensor> outputs(2), halves(2);
  std::vector<BatchNorm> norms{BatchNorm(kChannels, simulated.ranks(0)), BatchNorm(kChannels, simulated.ranks(1))};
  const auto exact_BCHW = torch::nn::BatchNorm2d(kChannels)->forward(x_BCHW);
  const auto near_BCHW = (x_BCHW - 3000).to(torch::kBFloat16);
  simulated.run([&](int64_t rank) {
    const auto at = static_cast<size_t>(rank);
    outputs[at] = norms[at]->forward(x_BCHW.slice(0, 2 * rank, 2 * rank + 2));
    norms[at]->discard_statistics();
    const CpuAutocast autocast(torch::kBFloat16);
    halves[at] = norms[at]->forward(near_BCHW.slice(0, 2 * rank, 2 * rank + 2));
    norms[at]->update_statistics();
  });
  CHECK(difference(torch::cat(outputs), exact_BCHW) < 2e-3);
  CHECK((torch::cat(halves).scalar_type() == torch::kBFloat16));
  BatchNorm alone(kChannels);
  const auto half_BCHW = alone->forward(near_BCHW);
  alone->update_statistics();
  CHECK((half_BCHW.scalar_type() == torch::kBFloat16));
  CHECK(difference(torch::cat(halves), half_BCHW) < 0.02);
  CHECK((buffer(norms[0], "running_var").scalar_type() == torch::kFloat32));
  CHECK(difference(buffer(norms[0], "running_var"), buffer(alone, "running_var")) < 1e-6);
  CHECK(difference(buffer(norms[1], "running_mean"), buffer(alone, "running_mean")) < 1e-6);
}

TEST_CASE("batch norm: a channel of one value and gradients of gradients over ranks are refused") {
  BatchNorm norm(kChannels);
  CHECK_THROWS_WITH_AS(norm->forward(torch::zeros({1, kChannels, 1, 1})),
                       doctest::Contains("more than one value of each channel"), Error);
  CHECK_THROWS_WITH_AS(norm->forward(torch::zeros({2, 3, 4, 4})), doctest::Contains("expected [B, 4, H, W]"), Error);
  SimulatedRanks simulated(2);
  simulated.run([&](int64_t rank) {
    BatchNorm one(kChannels, simulated.ranks(rank));
    const auto x_BCHW = torch::randn({1, kChannels, 1, 1}).requires_grad_();
    const auto sum = one->forward(x_BCHW).square().sum();  // two values of each channel on all ranks
    bool refused = false;
    try {
      torch::autograd::grad({sum}, {x_BCHW}, {}, true, /*create_graph=*/true);
    } catch (const Error&) {
      refused = true;
    }
    CHECK(refused);
  });
}

}  // namespace
}  // namespace beit

// Shape letters: B images, T tokens, D width.
#include "core/recompute.h"

#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>

#include <thread>

#include "base/error.h"
#include "tests/core/small_networks.h"

namespace beit {
namespace {

/// Bytes of CPU memory that this thread took and has not given back, and their peak, while it lives.
class Memory {
 public:
  Memory() : guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}
  int64_t held() const { return counter_->held; }
  int64_t peak() const { return counter_->peak; }

 private:
  struct Counter : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
      held += bytes;
      peak = std::max(peak, held);
    }
    bool memoryProfilingEnabled() const override { return true; }
    int64_t held = 0, peak = 0;
  };
  std::shared_ptr<Counter> counter_ = std::make_shared<Counter>();
  c10::DebugInfoGuard guard_;
};

/// Two equal networks, the second of which recomputes.
template <class Network, class Options>
std::array<Network, 2> pair(const Options& options, torch::ScalarType dtype) {
  torch::manual_seed(61);
  std::array<Network, 2> networks{Network(options), Network(options)};
  for (auto& [name, tensor] : state_dict(*networks[0])) {
    if (name.ends_with("table") || name.ends_with("_bias")) tensor.normal_(0, 0.5);
  }
  load_state_dict_strict(*networks[1], state_dict(*networks[0]), "copy");
  for (auto& network : networks) network->to(dtype == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32);
  networks[1]->set_recompute(true);
  return networks;
}

template <class Network, class Options>
void check_equal_to_the_bit(const Options& options) {
  for (const auto dtype : {torch::kFloat32, torch::kFloat64, torch::kBFloat16}) {
    CAPTURE(std::string(torch::toString(dtype)));
    const StepData data(6, dtype == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32);
    auto networks = pair<Network>(options, dtype);
    std::array<torch::Tensor, 2> losses;
    for (size_t i = 0; i < 2; ++i) {
      for (int pass = 0; pass < 2; ++pass) {  // gradients add up
        {
          const CpuAutocast autocast(dtype);
          losses[i] = step_loss(networks[i], data);
        }
        // As on a GPU the backward pass runs on another thread, without autocast.
        std::thread([&, i] { losses[i].backward(); }).join();
      }
    }
    CHECK(torch::equal(losses[0], losses[1]));
    const auto plain = gradients(*networks[0]), recomputed = gradients(*networks[1]);
    CHECK(plain.size() > 40);
    CHECK(plain.size() == recomputed.size());
    for (const auto& [name, gradient] : plain) {
      CAPTURE(name);
      REQUIRE(recomputed.contains(name));
      CHECK(torch::equal(gradient, recomputed.at(name)));
    }
  }
}

TEST_CASE("recompute: loss and every gradient of masked image modelling equal the plain pass to the bit") {
  check_equal_to_the_bit<MaskedImageModel>(small_mim());
  MimOptions options = small_mim();
  options.vit.relative_position = RelPos::kBlock;
  check_equal_to_the_bit<MaskedImageModel>(options);
}

TEST_CASE("recompute: loss and every gradient of VQ-KD equal the plain pass to the bit") {
  check_equal_to_the_bit<Tokenizer>(small_tokenizer());
}

TEST_CASE("recompute: of a block little more than its input is kept, and the peak is lower") {
  MimOptions options = small_mim();
  options.vit.depth = 8;
  const StepData data(16, torch::kFloat32);
  auto networks = pair<MaskedImageModel>(options, torch::kFloat32);
  std::array<int64_t, 2> kept{}, peak{};
  for (size_t i = 0; i < 2; ++i) {
    step_loss(networks[i], data).backward();  // gradients have their place already
    const Memory memory;
    const auto loss = step_loss(networks[i], data);
    kept[i] = memory.held();
    loss.backward();
    peak[i] = memory.peak();
  }
  CAPTURE(kept[0]);
  CAPTURE(kept[1]);
  CAPTURE(peak[0]);
  CAPTURE(peak[1]);
  CHECK(kept[1] > 0);
  CHECK(kept[1] * 5 < kept[0]);
  CHECK(peak[1] * 2 < peak[0]);
}

TEST_CASE("recompute: nothing is recomputed in eval() and without gradients") {
  torch::manual_seed(62);
  Block block(ViTOptions{.grid = {2, 2}, .width = 8, .heads = 2}, 0.0);
  block->set_recompute(true);
  const auto x_BTD = torch::randn({2, 5, 8});
  const auto recomputes = [&] {
    const auto y_BTD = block->forward(x_BTD, {});
    REQUIRE(y_BTD.grad_fn());
    return y_BTD.grad_fn()->name().find("Recompute") != std::string::npos;
  };
  CHECK(recomputes());
  block->set_recompute(false);
  CHECK(!recomputes());
  block->set_recompute(true);
  block->eval();
  CHECK(!recomputes());
  block->train();
  const torch::NoGradGuard no_grad;
  CHECK(!block->forward(x_BTD, {}).grad_fn());
}

TEST_CASE("recompute: the gradient of a parameter is accumulated once a pass, that of an unused one stays undefined") {
  const auto used = torch::randn({3}).requires_grad_(), unused = torch::randn({3}).requires_grad_(),
             frozen = torch::randn({3}), x = torch::randn({3}).requires_grad_();
  int64_t calls = 0, accumulated = 0;
  const auto accumulator = torch::autograd::impl::grad_accumulator(used);
  accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
      [&](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
        ++accumulated;
        return outputs;
      }));
  const auto body = [&](const std::vector<torch::Tensor>& inputs) {
    ++calls;
    CHECK(!inputs[1].defined());
    return inputs[0] * used * frozen;
  };
  const auto y = recompute(body, {x, {}}, {used, unused, frozen});
  CHECK(calls == 1);
  y.sum().backward();
  CHECK(calls == 2);
  CHECK(accumulated == 1);
  CHECK(torch::equal(used.grad(), x.detach() * frozen));
  CHECK(torch::equal(x.grad(), used.detach() * frozen));
  CHECK(!unused.grad().defined());
  CHECK(!frozen.grad().defined());
  recompute(body, {x, {}}, {used, unused, frozen}).sum().backward();
  CHECK(accumulated == 2);
  CHECK(torch::equal(used.grad(), 2 * x.detach() * frozen));
}

TEST_CASE("recompute: a graph outlives its network") {
  torch::manual_seed(63);
  const auto x_BTD = torch::randn({2, 5, 8}).requires_grad_();
  torch::Tensor y_BTD;
  {
    Block block(ViTOptions{.grid = {2, 2}, .width = 8, .heads = 2}, 0.0);
    block->set_recompute(true);
    y_BTD = block->forward(x_BTD, {});
  }
  y_BTD.sum().backward();
  CHECK(x_BTD.grad().abs().sum().item<double>() > 0);
}

TEST_CASE("recompute: a weight that changed before the backward pass, and gradients of gradients, are errors") {
  auto weight = torch::randn({3}).requires_grad_();
  const auto x = torch::randn({3}).requires_grad_();
  const auto call = [&] {
    return recompute([weight](const std::vector<torch::Tensor>& inputs) { return inputs[0] * weight; }, {x}, {weight});
  };
  CHECK_THROWS_WITH_AS(torch::autograd::grad({call().sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true),
                       doctest::Contains("create_graph"), Error);
  const auto y = call();
  {
    const torch::NoGradGuard no_grad;
    weight.mul_(2);
  }
  CHECK_THROWS_WITH(y.sum().backward(), doctest::Contains("inplace"));
  CHECK_THROWS_AS(recompute([](const std::vector<torch::Tensor>&) { return torch::ones({}); }, {{}}, {}), Error);
}

}  // namespace
}  // namespace beit

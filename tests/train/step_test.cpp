#include "train/step.h"

#include "base/error.h"
#include "tests/core/golden.h"
#include "tests/train/small_tasks.h"

namespace beit {
namespace {

const TrainOptions kOptions{.seed = 5, .batch_size = kStepImages, .clip_grad = 1.0};

template <class Make>
void check_parts(torch::ScalarType type, double losses, double gradients, const Make& make) {
  Distributed alone;
  auto whole_task = make(type);
  const auto whole = twenty_steps(whole_task, kOptions, alone);
  for (const int64_t parts : {2, 3, 4}) {
    CAPTURE(parts);
    TrainOptions options = kOptions;
    options.accumulate = parts;
    auto task = make(type);
    const auto cut = twenty_steps(task, options, alone);
    CHECK(cut.size() == whole.size());
    CHECK((cut.at("losses") - whole.at("losses")).abs().max().template item<double>() < losses);
    for (const auto& [name, value] : whole) {
      CAPTURE(name);
      if (name.starts_with("gradient.")) CHECK(apart(cut.at(name), value) < gradients);
    }
    if (whole.contains("codes")) CHECK(torch::equal(cut.at("codes"), whole.at("codes")));
  }
}

TEST_CASE("step: parts of a batch give the step of the whole: pre-training with stochastic depth") {
  const auto make = [](torch::ScalarType type) { return SmallMim(type); };
  check_parts(torch::kFloat64, 1e-12, 1e-12, make);
  check_parts(torch::kFloat32, 1e-5, 5e-6, make);
}

TEST_CASE("step: parts of a batch give the step of the whole: VQ-KD from its k-means start through revivals") {
  const auto make = [](torch::ScalarType type) { return SmallVqkd(type, {}); };
  check_parts(torch::kFloat64, 1e-9, 1e-11, make);
  check_parts(torch::kFloat32, 1e-4, 1e-5, make);
}

/// A model of one weight whose loss is not a number for so many tries.
class Failing : public TrainingTask {
 public:
  explicit Failing(int tries) : tries_(tries) {}
  torch::nn::Module& model() override { return *model_; }
  StepLoss loss(const Batch& batch, const StepPart&) override {
    drawn.push_back(torch::rand({1}).item<double>());
    const auto loss = model_->forward(batch.views[0]).mean();
    return {std::ssize(drawn) <= tries_ ? loss * std::numeric_limits<double>::quiet_NaN() : loss, {}};
  }
  void step_taken() override { ++taken; }
  void step_refused() override { ++refused; }
  nlohmann::ordered_json validate() override { return {}; }

  std::vector<double> drawn;
  int taken = 0, refused = 0;

 private:
  torch::nn::Linear model_{2, 1};
  int tries_;
};

TEST_CASE("step: a step that is not finite is refused and tried with other random numbers, then given up") {
  const Batch batch{{torch::ones({4, 2})}, torch::arange(4), torch::arange(4)};
  TrainOptions options{.batch_size = 4, .retries = 2};
  Distributed alone;
  for (const int tries : {0, 2, 3}) {
    CAPTURE(tries);
    Failing task(tries);
    AdamW optimizer(task.model(), {});
    TrainingStep step(task, optimizer, options, alone);
    const auto before = task.model().parameters()[0].detach().clone();
    int given_up = 0;
    const auto take = [&] {
      step.take(
          batch, 0, 0.1, [&] { ++given_up; }, [] { return std::string("'a.png'"); });
    };
    if (tries == 3) {
      CHECK_THROWS_WITH_AS(take(), doctest::Contains("in 3 tries; the steps before it are saved"), Error);
      CHECK(torch::equal(task.model().parameters()[0], before));
    } else {
      take();
      CHECK(!torch::equal(task.model().parameters()[0], before));
    }
    CHECK(given_up == (tries == 3 ? 1 : 0));
    CHECK(task.taken == (tries == 3 ? 0 : 1));
    CHECK(task.refused == tries);
    for (size_t i = 1; i < task.drawn.size(); ++i) CHECK(task.drawn[i] != task.drawn[i - 1]);
  }
}

TEST_CASE("step: a batch that does not divide into parts is an error") {
  SmallMim task(torch::kFloat32);
  AdamW optimizer(task.model(), {});
  TrainOptions options = kOptions;
  options.accumulate = 5;
  Distributed alone;
  CHECK_THROWS_WITH_AS(TrainingStep(task, optimizer, options, alone),
                       doctest::Contains("1 rank of 5 parts divide, got 12"), Error);
}

}  // namespace
}  // namespace beit

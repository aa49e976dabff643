#include "train/schedule.h"

#include "base/error.h"
#include "tests/core/golden.h"
#include "tests/support.h"
#include "train/loop.h"

namespace beit {
namespace {

TEST_CASE("schedule: equals the oracle at every step") {
  const auto file = read_safetensors(golden("schedule.safetensors")).tensors;
  const Schedule warmed{.peak = 1.5e-3, .last = 1e-5, .steps = 50, .warmup_steps = 10};
  const Schedule rising{.peak = 0.05, .last = 0.2, .steps = 40, .warmup_steps = 0};
  const auto check = [](const Schedule& schedule, const torch::Tensor& expected) {
    REQUIRE(expected.numel() == schedule.steps);
    for (int64_t step = 0; step < schedule.steps; ++step) {
      CHECK(schedule.at(step) == doctest::Approx(expected[step].item<double>()).epsilon(1e-12));
    }
  };
  check(warmed, file.at("out.lr"));
  check(rising, file.at("out.no_warmup"));
}

TEST_CASE("schedule: the warm-up starts at 0 and ends at the peak, and the run ends at the last value") {
  const Schedule schedule{.peak = 2.0, .last = 0.5, .steps = 30, .warmup_steps = 10};
  CHECK(schedule.at(0) == 0);
  CHECK(schedule.at(9) == doctest::Approx(2));
  CHECK(schedule.at(10) == doctest::Approx(2));
  CHECK(schedule.at(20) == doctest::Approx(1.25));
  for (int64_t step = 11; step < 30; ++step) CHECK(schedule.at(step) < schedule.at(step - 1));
  CHECK(schedule.at(29) > 0.5);
  CHECK(schedule.at(30) == 0.5);
  CHECK(schedule.at(1000) == 0.5);
}

TEST_CASE("schedule: one step of warm-up, warm-up alone and none at all are finite") {
  CHECK(Schedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 1}.at(0) == 0);
  CHECK(Schedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 1}.at(1) == doctest::Approx(1));
  CHECK(Schedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 4}.at(3) == doctest::Approx(1));
  CHECK(Schedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 0}.at(0) == doctest::Approx(1));
}

TEST_CASE("schedule: the linear fall is mmsegmentation's poly of power 1 with its warm-up") {
  const Schedule schedule{.peak = 3e-5, .last = 0, .steps = 160000, .warmup_steps = 1500, .fall = Fall::kLinear};
  CHECK(schedule.at(0) == doctest::Approx(3e-11));  // by hand: lr (1 - t/160000) (1 - (1 - t/1500) (1 - 1e-6))
  CHECK(schedule.at(750) == doctest::Approx(3e-5 * (1 - 750.0 / 160000) * (1 - 0.5 * (1 - 1e-6))));
  CHECK(schedule.at(1500) == doctest::Approx(3e-5 * (1 - 1500.0 / 160000)));
  CHECK(schedule.at(80000) == doctest::Approx(1.5e-5));
  CHECK(schedule.at(160000) == 0);
}

TEST_CASE("schedule: a plan counts in epochs, or in steps alone") {
  TrainOptions options{.epochs = 0, .steps = 25, .batch_size = 1, .warmup_steps = 7, .keep_every = 0};
  const Plan steps = plan(options, /*steps_per_epoch=*/10, /*peak_lr=*/1.0);
  CHECK(steps.last_step == 25);
  CHECK(steps.epochs == 3);
  CHECK(steps.lr.steps == 25);
  CHECK(steps.lr.warmup_steps == 7);
  options = {.epochs = 4, .steps = 25, .warmup_epochs = 2};
  const Plan epochs = plan(options, 10, 1.0);
  CHECK(epochs.last_step == 25);
  CHECK(epochs.epochs == 4);
  CHECK(epochs.lr.steps == 40);
  CHECK(epochs.lr.warmup_steps == 20);
  CHECK_THROWS_WITH_AS(plan({.epochs = 0, .steps = 0}, 10, 1.0),
                       "training: expected --epochs or --steps, got neither; set one", Error);
}

}  // namespace
}  // namespace beit

#include "train/schedule.h"

#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

TEST_CASE("schedule: equals the oracle at every step") {
  const auto file = read_safetensors(golden("schedule.safetensors")).tensors;
  const CosineSchedule warmed{.peak = 1.5e-3, .last = 1e-5, .steps = 50, .warmup_steps = 10};
  const CosineSchedule rising{.peak = 0.05, .last = 0.2, .steps = 40, .warmup_steps = 0};
  const auto check = [](const CosineSchedule& schedule, const torch::Tensor& expected) {
    REQUIRE(expected.numel() == schedule.steps);
    for (int64_t step = 0; step < schedule.steps; ++step) {
      CHECK(schedule.at(step) == doctest::Approx(expected[step].item<double>()).epsilon(1e-12));
    }
  };
  check(warmed, file.at("out.lr"));
  check(rising, file.at("out.no_warmup"));
}

TEST_CASE("schedule: the warm-up starts at 0 and ends at the peak, and the run ends at the last value") {
  const CosineSchedule schedule{.peak = 2.0, .last = 0.5, .steps = 30, .warmup_steps = 10};
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
  CHECK(CosineSchedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 1}.at(0) == 0);
  CHECK(CosineSchedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 1}.at(1) == doctest::Approx(1));
  CHECK(CosineSchedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 4}.at(3) == doctest::Approx(1));
  CHECK(CosineSchedule{.peak = 1, .last = 0, .steps = 4, .warmup_steps = 0}.at(0) == doctest::Approx(1));
}

}  // namespace
}  // namespace beit

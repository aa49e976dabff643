#include "cli/needs.h"

#include <doctest/doctest.h>

#include "io/checkpoint.h"
#include "tests/support.h"

namespace beit {
namespace {

Trial small_trial() {
  return {.device = "cpu",
          .ranks = 2,
          .images = 1000,
          .batch_size = 100,
          .steps_per_epoch = 10,
          .step_s = {0.5, 9.0, 0.4},
          .pause_s = 2,
          .memory_bytes = 1000,
          .weights_bytes = 30,
          .checkpoint_bytes = 100};
}

TEST_CASE("needs: checkpoints are counted as they are kept on disk") {
  for (const auto& [every, last, keep, keep_every] :
       {std::tuple(1, 10, 2, 4), std::tuple(3, 20, 1, 6), std::tuple(2, 21, 3, 3), std::tuple(5, 5, 2, 0),
        std::tuple(4, 30, 1, 0), std::tuple(1, 3, 5, 1)}) {
    CAPTURE(every);
    const TemporaryFolder run;
    int64_t written = 0, most = 0;
    for (int64_t step = 1; step <= last; ++step) {
      if (step % every != 0 && step != last) continue;
      most = std::max<int64_t>(most, std::ssize(checkpoints(run.path)) + 1);
      write_checkpoint(run.path, {.step = step}, {.last = keep, .every = keep_every});
      ++written;
      const Extent extent{.keep_checkpoints = keep, .keep_every = keep_every};
      CHECK(std::ssize(checkpoints(run.path)) == checkpoints_kept(written, every, extent));
    }
    const Trial trial{.steps_per_epoch = 1000, .step_s = {1}, .weights_bytes = 7, .checkpoint_bytes = 100};
    const Needs needs = needs_of(trial, {.epochs = 1,
                                         .step_limit = last,
                                         .checkpoint_every = every,
                                         .keep_checkpoints = keep,
                                         .keep_every = keep_every});
    CHECK(needs.checkpoints == most);
    CHECK(needs.disk_bytes == 7 + 100 * most);
  }
}

TEST_CASE("needs: time is that of the steps that are left, and of their checkpoints") {
  const Needs needs = needs_of(small_trial(), {.epochs = 3});
  CHECK(needs.steps == 30);
  CHECK(needs.step_s == 0.5);
  CHECK(needs.seconds == doctest::Approx(30 * 0.5 + 3 * 2));
  CHECK(needs.memory_bytes == 2000);
  const Needs rest = needs_of(small_trial(), {.epochs = 300, .step_limit = 25, .done = 12, .bytes_there = 230});
  CHECK(rest.steps == 25);
  CHECK(rest.steps_left == 13);
  CHECK(rest.seconds == doctest::Approx(13 * 0.5 + 2 * 2));
  CHECK(rest.disk_bytes == 30 + 2 * 100);
  CHECK(rest.disk_bytes_more == 0);
}

TEST_CASE("needs: each thing of which there is too little is named with a remedy") {
  Trial trial = small_trial();
  trial.less_memory = "a smaller --batch-size, or --accumulate 2";
  trial.device_memory_bytes = 500;
  const Needs needs = needs_of(trial, {.epochs = 3});
  const auto remedies = [&](const Available& available) {
    std::vector<std::string> names;
    for (const Verdict& line : verdicts(trial, needs, available)) {
      if (!line.remedy.empty()) names.push_back(line.what + ": " + line.remedy);
    }
    return names;
  };
  CHECK(remedies({.memory = 2000, .device_memory = 500, .disk = needs.disk_bytes}).empty());
  CHECK(remedies({}).empty());
  CHECK(remedies({.memory = 1999, .device_memory = 500, .disk = 9999}) ==
        std::vector<std::string>{"memory: fewer --workers or --ranks"});
  CHECK(remedies({.memory = 2000, .device_memory = 499, .disk = needs.disk_bytes - 1}).size() == 2);
  trial.device_memory_bytes = 0;
  CHECK(remedies({.memory = 1999})[0].find("--accumulate") != std::string::npos);
}

}  // namespace
}  // namespace beit

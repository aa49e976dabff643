// Shape letters: K classes, H and W height and width.
#include "core/window_scores.h"

#include "base/error.h"
#include "tests/core/golden.h"
#include "tests/core/small_segmenter.h"
#include "tests/support.h"

namespace beit {
namespace {

TEST_CASE("window: probabilities equal PyTorch's for large, small, mirrored and whole images") {
  const auto file = read_safetensors(golden("segmenter.safetensors")).tensors;
  Segmenter segmenter(small_segmenter());
  load_state_dict_strict(*segmenter, tensors_under(file, "w."), "golden/segmenter");
  segmenter->eval();
  for (int number = 0; number < 4; ++number) {
    CAPTURE(number);
    const auto& expected_1KHW = file.at(fmt::format("window.{}.out", number));
    const auto scores_1KHW =
        window_scores(segmenter, {file.at(fmt::format("window.{}.in", number))}, expected_1KHW.size(2),
                      expected_1KHW.size(3), {.stride = number == 3 ? 0 : 22, .flip = number == 2});
    CHECK(difference(scores_1KHW, expected_1KHW) < 1e-5);
    CHECK(!scores_1KHW.requires_grad());
  }
}

TEST_CASE("window: windows begin every stride, the last moved back inside") {
  CHECK(window_starts(512, 512, 341) == std::vector<int64_t>{0});
  CHECK(window_starts(300, 300, 341) == std::vector<int64_t>{0});
  CHECK(window_starts(513, 512, 341) == std::vector<int64_t>{0, 1});
  CHECK(window_starts(853, 512, 341) == std::vector<int64_t>{0, 341});
  CHECK(window_starts(2048, 512, 341) == std::vector<int64_t>{0, 341, 682, 1023, 1364, 1536});
  CHECK(window_starts(9, 4, 4) == std::vector<int64_t>{0, 4, 5});
}

TEST_CASE("window: several views of an image give the mean of their probabilities") {
  torch::manual_seed(48);
  Segmenter segmenter(small_segmenter());
  segmenter->eval();
  const auto small_1CHW = torch::randn({1, 3, 32, 48}), large_1CHW = torch::randn({1, 3, 64, 96});
  const auto of = [&](const std::vector<torch::Tensor>& views, bool flip) {
    return window_scores(segmenter, views, 32, 48, {.stride = 16, .flip = flip});
  };
  const auto mean_1KHW = (of({small_1CHW}, false) + of({large_1CHW}, false)) / 2;
  const auto both_1KHW = of({small_1CHW, large_1CHW}, false);
  CHECK(difference(both_1KHW, mean_1KHW) < 1e-6);
  CHECK(difference(both_1KHW.sum(1), torch::ones({1, 32, 48})) < 1e-5);
  CHECK(difference(of({small_1CHW, large_1CHW}, true), (of({small_1CHW}, true) + of({large_1CHW}, true)) / 2) < 1e-6);
}

TEST_CASE("window: more windows than go through the network at once give what each alone does") {
  torch::manual_seed(49);
  Segmenter segmenter(small_segmenter());
  segmenter->eval();
  const torch::NoGradGuard no_grad;
  const auto view_1CHW = torch::randn({1, 3, 96, 128});  // twelve, side by side
  const auto logits_1KHW = window_logits(segmenter, view_1CHW, 32);
  for (int64_t row = 0; row < 96; row += 32) {
    for (int64_t column = 0; column < 128; column += 32) {
      const auto at = [&](const torch::Tensor& of) { return of.narrow(2, row, 32).narrow(3, column, 32); };
      CHECK(difference(at(logits_1KHW), segmenter->scores(at(view_1CHW))) < 1e-5);
    }
  }
}

TEST_CASE("window: a stride that leaves pixels out, several images and no view are refused") {
  Segmenter segmenter(small_segmenter());
  segmenter->eval();
  const auto view_1CHW = torch::zeros({1, 3, 64, 64});
  for (const int64_t stride : {-1, 33}) {
    CHECK_THROWS_WITH_AS(window_logits(segmenter, view_1CHW, stride), doctest::Contains("stride from 1 to 32"), Error);
  }
  CHECK_THROWS_WITH_AS(window_logits(segmenter, torch::zeros({2, 3, 64, 64}), 0), doctest::Contains("one image"),
                       Error);
  CHECK_THROWS_WITH_AS(window_scores(segmenter, {}, 4, 4, {}), doctest::Contains("at least one view"), Error);
}

}  // namespace
}  // namespace beit

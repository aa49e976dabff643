// Shape letters: B samples of a pass, T tokens, D width.
#include "core/step_part.h"

#include "base/error.h"
#include "core/block.h"
#include "tests/core/golden.h"
#include "tests/core/small_networks.h"

namespace beit {
namespace {

TEST_CASE("step part: a sample's number does not depend on the parts, and without parts LibTorch's stream is kept") {
  torch::manual_seed(31);
  const auto whole_B = torch::rand({12, 1, 1}).flatten();
  const auto next = torch::rand({1});
  torch::manual_seed(31);
  CHECK(torch::equal(uniform_by_sample(12, {}, torch::kCPU), whole_B));
  for (const int64_t parts : {1, 3, 4}) {
    for (const StepPart& part : deal(12, parts)) {
      torch::manual_seed(31);
      const auto drawn_B = uniform_by_sample(12 / parts, part, torch::kCPU);
      CHECK(torch::equal(drawn_B, whole_B.index_select(0, part.samples_B)));
      CHECK(torch::equal(torch::rand({1}), next));  // the generator stands where it does after the whole step
    }
  }
}

TEST_CASE("step part: stochastic depth leaves out the same branches of a sample in any part") {
  torch::manual_seed(32);
  Block block(ViTOptions{.grid = {2, 2}, .width = 8, .heads = 2}, 0.5);
  block->to(torch::kFloat64);
  const auto x_BTD = torch::randn({12, 5, 8}, torch::kFloat64);
  torch::manual_seed(33);
  const auto whole_BTD = block->forward(x_BTD, {});
  for (const int64_t parts : {1, 2, 4}) {
    for (const StepPart& part : deal(12, parts)) {
      torch::manual_seed(33);
      const auto part_BTD = block->forward(x_BTD.index_select(0, part.samples_B), {}, {}, part);
      CHECK(difference(part_BTD, whole_BTD.index_select(0, part.samples_B)) < 1e-12);
    }
  }
}

TEST_CASE("step part: places of another number, type or range are refused, by each network") {
  const auto refused = [](const StepPart& part) { CHECK_THROWS_AS(check_part(part, 2), Error); };
  refused({.samples = 4, .samples_B = {}});
  refused({.samples = 4, .samples_B = torch::tensor({0, 1, 2})});
  refused({.samples = 4, .samples_B = torch::tensor({0.0F, 1.0F})});
  refused({.samples = 4, .samples_B = torch::tensor({0, 4})});
  refused({.samples = 4, .samples_B = torch::tensor({-1, 2})});
  CHECK_THROWS_WITH_AS(check_part({.samples = 4, .samples_B = torch::tensor({1, 4})}, 2),
                       doctest::Contains("in [0, 4), got 1 to 4"), Error);
  check_part({.samples = 4, .samples_B = torch::tensor({3, 0})}, 2);
  const StepPart wrong{.samples = 4, .samples_B = torch::tensor({0, 1, 2})};
  const StepData data(2, torch::kFloat32);
  MaskedImageModel mim(small_mim());
  CHECK_THROWS_AS(mim->forward(data.images_BCHW, data.mask_BN, wrong), Error);
  Tokenizer tokenizer(small_tokenizer());
  CHECK_THROWS_AS(tokenizer->forward(data.images_BCHW, data.target_BNF, wrong), Error);
  CHECK_THROWS_AS(tokenizer->quantizer()->forward(torch::randn({2, 3, 8}), wrong), Error);
}

}  // namespace
}  // namespace beit

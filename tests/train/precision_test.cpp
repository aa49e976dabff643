#include "train/precision.h"

#include <ATen/autocast_mode.h>

#include "base/error.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

bool has_type(const torch::Tensor& tensor, torch::ScalarType type) { return tensor.scalar_type() == type; }

TEST_CASE("precision: float32 asks for nothing, fp16 for a GPU, and other words are errors") {
  CHECK(!reduced_type("float32", torch::kCPU));
  CHECK_THROWS_WITH_AS(reduced_type("fp16", torch::kCPU), doctest::Contains("expected a GPU for fp16"), Error);
  CHECK_THROWS_WITH_AS(reduced_type("half", torch::kCPU), doctest::Contains("expected float32, bf16 or fp16"), Error);
}

TEST_CASE("precision: products are computed in the reduced type, within the scope alone") {
  const auto a = torch::randn({4, 4}), b = torch::randn({4, 4});
  {
    const Autocast autocast(torch::kCPU, torch::kBFloat16);
    CHECK(has_type(torch::matmul(a, b), torch::kBFloat16));
    CHECK(has_type(a + b, torch::kFloat32));
  }
  CHECK(has_type(torch::matmul(a, b), torch::kFloat32));
  const Autocast none(torch::kCPU, std::nullopt);
  CHECK(has_type(torch::matmul(a, b), torch::kFloat32));
}

TEST_CASE("precision: the loss's scale falls when gradients overflow, rises again, and is kept for a resumed run") {
  LossScale scale(torch::kFloat16);
  const double first = scale.value();
  CHECK(first > 1);
  CHECK(scale.halve());
  CHECK(scale.value() == first / 2);
  auto gradient = torch::full({3}, first);
  scale.unscale({gradient});
  CHECK(torch::equal(gradient, torch::full({3}, 2.0)));

  for (int step = 0; step < 1999; ++step) scale.note_step();
  CHECK(scale.value() == first / 2);
  LossScale resumed(torch::kFloat16);
  resumed.set_state(scale.state());
  for (LossScale* one : {&scale, &resumed}) {
    one->note_step();
    CHECK(one->value() == first);
  }
  while (scale.value() > 1) CHECK(scale.halve());
  CHECK(!scale.halve());
}

TEST_CASE("precision: without float16 the loss is not scaled") {
  LossScale scale(torch::kBFloat16);
  CHECK(scale.value() == 1);
  CHECK(!scale.halve());
  for (int step = 0; step < 5000; ++step) scale.note_step();
  CHECK(scale.value() == 1);
  CHECK(scale.state().empty());
}

}  // namespace
}  // namespace beit

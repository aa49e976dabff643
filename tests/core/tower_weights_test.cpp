#include "core/tower_weights.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/core/golden.h"

using namespace beit;

namespace {

NamedTensors named(std::initializer_list<const char*> names) {
  NamedTensors tensors;
  for (const char* name : names) tensors.emplace(name, torch::ones(1));
  return tensors;
}

std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("tower weights: a prefix of the whole network is dropped, and what lacks it") {
  CHECK(names_of(tower_weights(named({"cls", "a.b"}), "cls", "net")) == Names{"a.b", "cls"});
  CHECK(names_of(tower_weights(named({"visual.cls", "visual.a.b", "text.a", "logit_scale"}), "cls", "net")) ==
        Names{"a.b", "cls"});
  CHECK(names_of(tower_weights(named({"module.backbone.cls", "module.backbone.a", "module.head.a"}), "cls", "net")) ==
        Names{"a", "cls"});
}

TEST_CASE("tower weights: classification heads and batch counters are left out") {
  CHECK(names_of(tower_weights(named({"m.cls", "m.head.weight", "m.bn.num_batches_tracked", "m.header"}), "cls",
                               "net")) == Names{"cls", "header"});
}

TEST_CASE("tower weights: the network must be there, and once") {
  CHECK_THROWS_WITH_AS(tower_weights(named({"my_cls", "cls.x"}), "cls", "net"),
                       doctest::Contains("net: expected a tensor 'cls', got 2 others"), Error);
  CHECK_THROWS_WITH_AS(tower_weights(named({"student.cls", "teacher.cls"}), "cls", "net"),
                       doctest::Contains("got 'cls' under 2 prefixes ('student.', 'teacher.')"), Error);
}

TEST_CASE("tower weights: a tensor is there with the dimensions it must have") {
  const NamedTensors tensors{{"a", torch::ones({2, 3})}, {"empty", torch::ones({0, 3})}};
  CHECK(tower_tensor(tensors, "a", 2, "net").size(1) == 3);
  CHECK_THROWS_WITH_AS(tower_tensor(tensors, "a", 4, "net"),
                       doctest::Contains("net: expected a tensor 'a' with 4 dimensions, got [2, 3]"), Error);
  CHECK_THROWS_WITH_AS(tower_tensor(tensors, "b", 4, "net"), doctest::Contains("got none"), Error);
  CHECK_THROWS_WITH_AS(tower_tensor(tensors, "empty", 2, "net"), doctest::Contains("got [0, 3]"), Error);
}

TEST_CASE("tower weights: blocks are counted to the highest number") {
  CHECK(
      count_blocks(named({"blocks.0.a", "blocks.2.a", "blocks.10.a", "blocks.10.b", "a", "b", "c", "d", "e", "f", "g"}),
                   "blocks.", "net") == 11);
  CHECK_THROWS_WITH_AS(count_blocks(named({"layers.0.a", "blocks"}), "blocks.", "net"),
                       doctest::Contains("net: expected tensors 'blocks.0.*', got none"), Error);
  CHECK_THROWS_AS(count_blocks(named({"blocks.x.a", "blocks.-3.a", "blocks."}), "blocks.", "net"), Error);
  // No memory is taken for blocks that a name only claims.
  CHECK(count_blocks(named({"blocks.0.a", "blocks.900000000000.a"}), "blocks.", "net") == 1);
  CHECK(count_blocks(named({"blocks.0.a", "blocks.9223372036854775807.a", "blocks.99999999999999999999.a"}), "blocks.",
                     "net") == 1);
}

TEST_CASE("tower weights: heads are 64 wide unless stated or published") {
  CHECK(tower_heads(768, 0, "net") == 12);
  CHECK(tower_heads(24, 2, "net") == 2);
  CHECK_THROWS_WITH_AS(tower_heads(24, 0, "net"), doctest::Contains("a multiple of 64, got a width of 24"), Error);
  CHECK(tower_heads(544, 0, "net") == 16);
  CHECK(tower_heads(1280, 0, "net") == 16);
  CHECK_THROWS_AS(tower_heads(100, 0, "net"), Error);
  CHECK_THROWS_WITH_AS(tower_heads(24, 5, "net"), doctest::Contains("got a width of 24 and 5 heads"), Error);
  CHECK_THROWS_AS(tower_heads(768, -1, "net"), Error);
}

TEST_CASE("tower weights: positions are those of CLS and a square") {
  CHECK(square_grid_side(197, "net") == 14);
  CHECK(square_grid_side(2, "net") == 1);
  for (const int64_t rows : {0, 1, 3, 196, 198}) CHECK_THROWS_AS_MESSAGE(square_grid_side(rows, "net"), Error, rows);
}

TEST_CASE("tower weights: all tensors are copied, in the module's dtype") {
  torch::nn::BatchNorm1d module(2);
  const NamedTensors file{{"weight", torch::tensor({1.0, 2.0}, torch::kFloat64)},
                          {"bias", torch::tensor({3.F, 4.F})},
                          {"running_mean", torch::tensor({5.F, 6.F})},
                          {"running_var", torch::tensor({7.F, 8.F})},
                          {"num_batches_tracked", torch::tensor(9)}};
  copy_weights(*module, file, "net");
  CHECK(torch::equal(module->weight, torch::tensor({1.F, 2.F})));
  CHECK(torch::equal(module->running_var, torch::tensor({7.F, 8.F})));
  CHECK(module->num_batches_tracked.item<int64_t>() == 9);
}

TEST_CASE("tower weights: what does not fit is named, and the module is untouched") {
  torch::nn::Linear module(2, 3);
  const auto before = module->weight.detach().clone();
  const NamedTensors good{{"weight", torch::ones({3, 2})}, {"bias", torch::ones(3)}};
  auto bad = good;
  bad["bias"] = torch::ones(4);
  bad["more"] = torch::ones(1);
  CHECK_THROWS_WITH_AS(
      copy_weights(*module, bad, "net"),
      doctest::Contains("net: expected its 2 tensors, got 1 unexpected (more), 1 of another shape (bias: "
                        "expected [3], got [4])"),
      Error);
  CHECK(torch::equal(module->weight, before));
  bad = good;
  bad.erase("bias");
  CHECK_THROWS_WITH_AS(copy_weights(*module, bad, "net"), doctest::Contains("got 1 missing (bias)"), Error);
  CHECK(torch::equal(module->weight, before));
  CHECK_NOTHROW(copy_weights(*module, good, "net"));
  freeze(*module);
  CHECK_FALSE(module->weight.requires_grad());
  CHECK_FALSE(module->is_training());
}

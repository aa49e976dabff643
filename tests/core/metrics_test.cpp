#include "core/metrics.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "base/error.h"

namespace beit {
namespace {

TEST_CASE("metrics: top-1 is the percentage of rows whose largest score is the label's") {
  const auto scores_MK =
      torch::tensor({{1.0F, 2.0F, 0.0F}, {5.0F, 2.0F, 1.0F}, {0.0F, 0.1F, 0.2F}, {-1.0F, -2.0F, -3.0F}});
  CHECK(top1_percent(scores_MK, torch::tensor({1, 0, 2, 1})) == doctest::Approx(75));
  CHECK(top1_percent(scores_MK, torch::tensor({0, 1, 0, 1})) == doctest::Approx(0));
}

TEST_CASE("metrics: a label's rank is how many scores stand before it, of equal ones the first first") {
  const float nan = std::nanf("");
  const auto scores_MK = torch::tensor({{0.1F, 0.5F, 0.3F},
                                        {0.1F, 0.5F, 0.3F},
                                        {0.0F, 0.0F, 0.0F},
                                        {0.0F, 0.0F, 0.0F},
                                        {nan, 2.0F, 1.0F},
                                        {nan, 0.0F, 0.0F}});
  const auto labels_M = torch::tensor({1, 0, 0, 2, 1, 0});
  const auto ranks_M = label_ranks(scores_MK, labels_M);
  CHECK(ranks_M.dtype() == torch::kInt64);
  CHECK(torch::equal(ranks_M, torch::tensor({0, 2, 0, 2, 1, 3})));

  torch::manual_seed(2);
  const auto random_MK = torch::rand({40, 9});
  const auto random_M = torch::randint(9, {40}, torch::kInt64);
  CHECK(torch::equal(label_ranks(random_MK, random_M).eq(0), random_MK.argmax(1).eq(random_M)));
  const auto five_M5 = std::get<1>(random_MK.topk(5, 1));
  CHECK(torch::equal(label_ranks(random_MK, random_M).lt(5), five_M5.eq(random_M.unsqueeze(1)).any(1)));
}

TEST_CASE("metrics: figures of classes that occur, each with what it is most often mistaken for") {
  const auto labels_M = torch::tensor({3, 3, 3, 3, 0, 0, 7, 7, 7});
  const auto predicted_M = torch::tensor({3, 1, 1, 5, 0, 0, 9, 2, 7});
  const auto classes = class_figures(predicted_M, labels_M);
  REQUIRE(classes.size() == 3);
  CHECK(classes[0].label == 0);
  CHECK(classes[0].right == 2);
  CHECK(classes[0].mistaken_for == -1);
  CHECK(classes[1].label == 3);
  CHECK(classes[1].samples == 4);
  CHECK(classes[1].right == 1);
  CHECK(classes[1].mistaken_for == 1);
  CHECK(classes[1].mistaken == 2);
  CHECK(classes[2].mistaken_for == 2);
  CHECK(classes[2].mistaken == 1);
  CHECK_THROWS_AS(class_figures(labels_M, labels_M.slice(0, 1)), Error);
}

TEST_CASE("metrics: mean and the spread with n - 1; a single value has none") {
  const auto summary = summarise(std::array{1.0, 2.0, 6.0});
  CHECK(summary.mean == doctest::Approx(3));
  REQUIRE(summary.spread.has_value());
  CHECK(*summary.spread == doctest::Approx(std::sqrt(7.0)));
  CHECK(summarise(std::array{4.0}).mean == doctest::Approx(4));
  CHECK(!summarise(std::array{4.0}).spread.has_value());
  CHECK(*summarise(std::array{4.0, 4.0}).spread == doctest::Approx(0));
  CHECK_THROWS_AS(summarise({}), Error);
}

}  // namespace
}  // namespace beit

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

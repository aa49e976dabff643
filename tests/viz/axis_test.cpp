#include "viz/axis.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace beit {
namespace {

using Labels = std::vector<std::string>;

Labels labels(const std::vector<double>& values, Scale scale = Scale::kLinear, int ticks = 5) {
  Labels labels;
  for (const Tick& tick : axis_over(values, scale, ticks).ticks) labels.push_back(tick.label);
  return labels;
}

TEST_CASE("axis: ticks stand at round values and are labelled as people write them") {
  CHECK(labels({0, 1}) == Labels{"0", "0.2", "0.4", "0.6", "0.8", "1"});
  CHECK(labels({-1, 1}, Scale::kLinear, 4) == Labels{"-1", "-0.5", "0", "0.5", "1"});
  CHECK(labels({1, 4686}, Scale::kLinear, 4) == Labels{"2k", "4k"});
  CHECK(labels({0, 160000}, Scale::kLinear, 4) == Labels{"0", "50k", "100k", "150k"});
  CHECK(labels({0, 1.5e-3}, Scale::kLinear, 3) == Labels{"0", "5e-4", "1e-3", "1.5e-3"});
  CHECK(labels({4.2e8, 5.4e8}, Scale::kLinear, 4) == Labels{"450M", "500M"});
  CHECK(labels({12.31, 12.34}, Scale::kLinear, 3) == Labels{"12.31", "12.32", "12.33", "12.34"});
}

TEST_CASE("axis: a logarithmic one has ticks at powers of ten, between near ends at 2 and 5 times these") {
  CHECK(labels({1e-5, 1e-2}, Scale::kLog) == Labels{"1e-5", "1e-4", "0.001", "0.01"});
  CHECK(labels({0.9, 60}, Scale::kLog) == Labels{"1", "2", "5", "10", "20", "50"});
  CHECK(labels({2.1, 4.3}, Scale::kLog) == Labels{"2.5", "3", "3.5", "4"});
  CHECK(labels({1e-60, 1e60}, Scale::kLog).size() <= 6);
  const Axis axis = axis_over({1, 100}, Scale::kLog, 5);
  CHECK(axis.share(10) == doctest::Approx(0.5));
}

TEST_CASE("axis: whatever the values, a few ticks lie within the ends and shares between 0 and 1") {
  const double huge = 1e100, tiny = 1e-100;
  for (const Scale scale : {Scale::kLinear, Scale::kLog}) {
    for (const std::vector<double>& values : {std::vector<double>{},
                                              {3},
                                              {tiny},
                                              {huge},
                                              {1e16, 1e16 + 2},
                                              {tiny, huge},
                                              {tiny, 2 * tiny},
                                              {1, 1 + 1e-15}}) {
      for (const int about : {2, 5}) {
        const Axis axis = axis_over(values, scale, about);
        REQUIRE(axis.least < axis.most);
        CHECK(axis.ticks.size() <= 4 * static_cast<size_t>(about));
        for (const Tick& tick : axis.ticks) {
          CHECK(!tick.label.empty());
          CHECK(axis.share(tick.value) >= -1e-9);
          CHECK(axis.share(tick.value) <= 1 + 1e-9);
        }
        for (const double value : values) CHECK(std::isfinite(axis.share(value)));
      }
    }
  }
  CHECK(axis_over({0, 0}, Scale::kLinear, 4).most > 0);
  CHECK(axis_over({-huge, huge}, Scale::kLinear, 4).share(0) == doctest::Approx(0.5));
}

TEST_CASE("axis: values without a place are refused") {
  CHECK(!has_place(std::numeric_limits<double>::quiet_NaN(), Scale::kLinear));
  CHECK(!has_place(1e101, Scale::kLinear));
  CHECK(has_place(-1, Scale::kLinear));
  CHECK(!has_place(0, Scale::kLog));
  CHECK(!has_place(-1, Scale::kLog));
  CHECK_THROWS_AS(axis_over({0}, Scale::kLog, 4), Error);
  CHECK_THROWS_AS(axis_over({std::numeric_limits<double>::infinity()}, Scale::kLinear, 4), Error);
  CHECK_THROWS_AS(axis_over({1}, Scale::kLinear, 1), Error);
}

}  // namespace
}  // namespace beit

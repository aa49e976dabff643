#include "cli/images.h"

#include <doctest/doctest.h>

#include "tests/data/samples.h"

namespace beit {

TEST_CASE("images: --data-weight, --shuffle and --shuffle-window make the sampler's options") {
  const auto plain = sampler_options({.data = {"a", "b"}}, 7);
  CHECK(plain.seed == 7);
  CHECK(plain.shuffle == Shuffle::kFull);
  CHECK(plain.weights.empty());
  const auto weighted =
      sampler_options({.data = {"a", "b"}, .data_weight = {"3", "0.5"}, .shuffle = "shards", .shuffle_window = 48}, 0);
  CHECK(weighted.shuffle == Shuffle::kShards);
  CHECK(weighted.window == 48);
  CHECK(weighted.weights == std::vector<double>{3, 0.5});
}

TEST_CASE("images: weights that are not one number above 0 for each --data are refused") {
  const auto error = [](const std::vector<std::string>& weights) {
    return error_of([&] { sampler_options({.data = {"a", "b"}, .data_weight = weights}, 0); });
  };
  CHECK(error({"1"}) ==
        "data-weight: expected one for each --data, got 1 for 2; give --data-weight as often as --data");
  CHECK(contains(error({"1", "2", "3"}), "got 3 for 2"));
  CHECK(contains(error({"1", "0"}), "data-weight: expected a number above 0, got 0"));
  CHECK(contains(error({"1", "3,1"}), "data-weight: expected a number, got '3,1'"));
  CHECK(contains(error({"1", "nan"}), "data-weight: expected a number"));
}

}  // namespace beit

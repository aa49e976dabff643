#include "core/channel_statistics.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/core/golden.h"

using namespace beit;

namespace {

torch::Tensor features() {
  torch::manual_seed(2);
  return torch::randn({6, 5, 4}) * torch::tensor({1.F, 10.F, 0.01F, 3.F}) + torch::tensor({0.F, -3.F, 50.F, 1.F});
}

}  // namespace

TEST_CASE("channel statistics: mean and deviation of each channel over all rows") {
  const auto x_BND = features();
  ChannelMoments moments(4);
  moments.add(x_BND);
  const auto found = moments.statistics();
  const auto rows_MD = x_BND.reshape({-1, 4}).to(torch::kFloat64);
  CHECK((found.mean_D.scalar_type() == torch::kFloat32));
  CHECK(difference(found.mean_D, rows_MD.mean(0)) < 1e-5);
  CHECK(difference(found.std_D / rows_MD.std(0, /*unbiased=*/false), torch::ones(4)) < 1e-5);
}

TEST_CASE("channel statistics: how the rows were divided into batches changes nothing") {
  const auto x_BND = features();
  ChannelMoments whole(4), parts(4);
  whole.add(x_BND);
  parts.add(x_BND.slice(0, 0, 1));
  parts.add(x_BND.slice(0, 1, 4).reshape({-1, 4}));
  parts.add(x_BND[4]);
  parts.add(x_BND[5]);
  parts.add(torch::zeros({0, 5, 4}));
  CHECK(difference(parts.statistics().mean_D, whole.statistics().mean_D) < 1e-6);
  CHECK(difference(parts.statistics().std_D, whole.statistics().std_D) < 1e-6);
}

TEST_CASE("channel statistics: standardised features have mean zero and deviation one") {
  const auto x_BND = features();
  ChannelMoments moments(4);
  moments.add(x_BND);
  const auto y_MD = moments.statistics().standardise(x_BND.to(torch::kFloat64)).reshape({-1, 4});
  CHECK((y_MD.scalar_type() == torch::kFloat32));
  CHECK(difference(y_MD.mean(0), torch::zeros(4)) < 1e-3);
  CHECK(difference(y_MD.std(0, /*unbiased=*/false), torch::ones(4)) < 1e-3);
}

TEST_CASE("channel statistics: a channel that never changes becomes zero, not a division by it") {
  // Many values, as rounding of the sums leaves a variance above zero for some.
  const auto x_MD = torch::linspace(-3, 3, 101).repeat({7, 1});
  ChannelMoments moments(101);
  for (int i = 0; i < 100; ++i) moments.add(x_MD);
  const auto found = moments.statistics();
  CHECK(torch::equal(found.std_D, torch::ones(101)));
  CHECK(difference(found.standardise(x_MD), torch::zeros({7, 101})) < 1e-6);
}

TEST_CASE("channel statistics: a small spread around a large mean is not lost") {
  torch::manual_seed(3);
  const auto x_MD = (1000 + torch::randn({4096, 1}, torch::kFloat64)).to(torch::kFloat32);
  ChannelMoments moments(1);
  moments.add(x_MD);
  const auto expected = x_MD.to(torch::kFloat64).std(0, /*unbiased=*/false);
  CHECK(difference(moments.statistics().std_D, expected) < 1e-5);
}

TEST_CASE("channel statistics: ranks together have the statistics of all rows") {
  const auto x_BND = features();
  ChannelMoments all(4), first(4), second(4);
  all.add(x_BND);
  first.add(x_BND.slice(0, 0, 2));
  second.add(x_BND.slice(0, 2));
  torch::Tensor of_second;
  second.statistics([&](torch::Tensor& sums) { of_second = sums.clone(); });
  const auto found = first.statistics([&](torch::Tensor& sums) { sums += of_second; });
  CHECK(difference(found.mean_D, all.statistics().mean_D) < 1e-6);
  CHECK(difference(found.std_D, all.statistics().std_D) < 1e-6);
  // A rank without rows takes part.
  const auto idle = ChannelMoments(4).statistics([&](torch::Tensor& sums) { sums += of_second; });
  CHECK(difference(idle.mean_D, second.statistics().mean_D) < 1e-6);
}

TEST_CASE("channel statistics: another width and no rows are errors") {
  ChannelMoments moments(4);
  CHECK_THROWS_WITH_AS(moments.add(torch::zeros({2, 5})), doctest::Contains("expected features [..., 4], got [2, 5]"),
                       Error);
  CHECK_THROWS_WITH_AS(moments.statistics(), doctest::Contains("expected features of at least one image, got none"),
                       Error);
}

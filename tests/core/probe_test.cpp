#include <doctest/doctest.h>

#include <array>

#include "base/error.h"
#include "core/knn.h"
#include "core/linear_probe.h"
#include "core/metrics.h"

namespace beit {
namespace {

// `distance` apart, noise of variance 1: separable where the distance is large.
LabelledFeatures clusters(int64_t samples, int64_t width, int64_t classes, double distance, int64_t seed) {
  torch::manual_seed(11);
  const auto centres_KF = torch::randn({classes, width}) * distance;
  torch::manual_seed(static_cast<uint64_t>(seed));
  const auto labels_M = torch::arange(samples).remainder(classes);
  return {centres_KF.index_select(0, labels_M) + torch::randn({samples, width}), labels_M};
}

LabelledFeatures noise(int64_t samples, int64_t classes, uint64_t seed) {
  torch::manual_seed(seed);
  return {torch::randn({samples, 24}), torch::randint(classes, {samples}, torch::kInt64)};
}

TEST_CASE("probe: separable clusters are told apart without a fault") {
  const auto train = clusters(300, 16, 5, 4, 1), val = clusters(200, 16, 5, 4, 2);
  CHECK(linear_probe(train, val, 5).top1 == doctest::Approx(100));
  CHECK(knn_top1(train, val, 5) == doctest::Approx(100));
}

TEST_CASE("probe: features that know nothing give about chance") {
  const auto train = noise(1000, 4, 3), val = noise(2000, 4, 4);
  CHECK(linear_probe(train, val, 4).top1 == doctest::Approx(25).epsilon(0.2));
  CHECK(knn_top1(train, val, 4) == doctest::Approx(25).epsilon(0.2));
}

TEST_CASE("probe: a seed repeats its result and decides the held-out part") {
  const auto train = clusters(400, 12, 8, 0.5, 1), val = clusters(400, 12, 8, 0.5, 2);
  const auto first = linear_probe(train, val, 8, {.seed = 5}), again = linear_probe(train, val, 8, {.seed = 5});
  CHECK(first.top1 == again.top1);
  CHECK(first.held_out_top1 == again.held_out_top1);
  CHECK(first.strength == again.strength);
  CHECK(linear_probe(train, val, 8, {.seed = 6}).held_out_top1 != first.held_out_top1);
}

TEST_CASE("probe: units and offsets of the features change nothing in the linear probe") {
  const auto train = clusters(400, 12, 8, 0.5, 1), val = clusters(400, 12, 8, 0.5, 2);
  const auto moved = [](const LabelledFeatures& set) {
    return LabelledFeatures{set.features_MF * torch::logspace(-2, 2, 12) + 3, set.labels_M};
  };
  const double top1 = linear_probe(train, val, 8).top1;
  CHECK(linear_probe(moved(train), moved(val), 8).top1 == doctest::Approx(top1).epsilon(0.02));
}

TEST_CASE("probe: the fit is the minimum of the stated objective") {
  // One strength, so that the result is that of the whole training set; autograd finds no way further down.
  const auto train = clusters(200, 6, 3, 0.4, 1);
  const auto x_MF = (train.features_MF - train.features_MF.mean(0)) / train.features_MF.std(0, false);
  auto w_KF = torch::zeros({3, 6}, torch::requires_grad()), b_K = torch::zeros({3}, torch::requires_grad());
  torch::optim::LBFGS slow({w_KF, b_K}, torch::optim::LBFGSOptions(1).max_iter(500).line_search_fn("strong_wolfe"));
  slow.step([&] {
    slow.zero_grad();
    const auto loss = torch::cross_entropy_loss(x_MF.mm(w_KF.t()) + b_K, train.labels_M) + 0.005 * w_KF.square().sum();
    loss.backward();
    return loss;
  });
  const double expected = top1_percent(x_MF.mm(w_KF.t()) + b_K, train.labels_M);
  CHECK(linear_probe(train, train, 3, {.strengths = {0.01}}).top1 ==
        doctest::Approx(expected).epsilon(0.01));  // one sample on the border
}

TEST_CASE("probe: a constant feature does no harm") {
  auto train = clusters(100, 8, 2, 4, 1), val = clusters(100, 8, 2, 4, 2);
  train.features_MF.select(1, 3).fill_(7);
  val.features_MF.select(1, 3).fill_(7);
  CHECK(linear_probe(train, val, 2).top1 == doctest::Approx(100));
}

TEST_CASE("probe: nearer neighbours weigh more, and fewer samples than neighbours are all asked") {
  const LabelledFeatures train{torch::tensor({{1.0F, 0.0F}, {0.0F, 1.0F}, {0.0F, 1.0F}}), torch::tensor({0, 1, 1})};
  const LabelledFeatures val{torch::tensor({{1.0F, 0.1F}, {0.1F, 1.0F}}), torch::tensor({0, 1})};
  CHECK(knn_top1(train, val, 2) == doctest::Approx(100));
}

TEST_CASE("probe: kNN's nearest neighbour has a vote at any temperature") {
  const LabelledFeatures train{torch::tensor({{1.0F, 1.0F}, {0.0F, 1.0F}}), torch::tensor({2, 0})};
  const LabelledFeatures val{torch::tensor({{1.0F, -0.5F}}), torch::tensor({2})};
  CHECK(knn(train, val, 3, {.neighbours = {2}, .temperatures = {1e-4}}).front().top1 == 100);
}

TEST_CASE("probe: kNN's votes are those counted by hand, for all pairs of neighbours and temperatures") {
  // Cosines with the asked image: 0.8, 0.6, 0.6 and 0 of another class each but the two of class 1.
  const LabelledFeatures train{torch::tensor({{4.0F, 3.0F}, {3.0F, 4.0F}, {3.0F, -4.0F}, {0.0F, 2.0F}}),
                               torch::tensor({0, 1, 1, 2})};
  const LabelledFeatures val{torch::tensor({{5.0F, 0.0F}}), torch::tensor({1})};
  const auto results = knn(train, val, 3, {.neighbours = {1, 3}, .temperatures = {0.1, 1.0}});
  REQUIRE(results.size() == 4);
  const auto is = [&](size_t i, int64_t neighbours, double temperature, double top1) {
    CHECK(results[i].neighbours == neighbours);
    CHECK(results[i].temperature == doctest::Approx(temperature));
    CHECK(results[i].top1 == doctest::Approx(top1));
  };
  is(0, 1, 0.1, 0);
  is(1, 1, 1.0, 0);
  is(2, 3, 0.1, 0);    // exp(8) against 2 exp(6)
  is(3, 3, 1.0, 100);  // exp(0.8) against 2 exp(0.6)
  CHECK(knn_top1(train, val, 3, {.neighbours = {3, 1}, .temperatures = {1.0}}) == doctest::Approx(100));
  CHECK_THROWS_WITH_AS(knn(train, val, 3, {.neighbours = {0}}), doctest::Contains("positive"), Error);
  CHECK_THROWS_AS(knn(train, val, 3, {.temperatures = {}}), Error);
}

TEST_CASE("probe: an image without a class is refused") {
  auto train = clusters(20, 4, 2, 4, 1);
  const auto val = clusters(20, 4, 2, 4, 2);
  train.labels_M[3] = -1;
  CHECK_THROWS_WITH_AS(linear_probe(train, val, 2), doctest::Contains("every image needs a class"), Error);
  CHECK_THROWS_AS(knn_top1(val, {torch::randn({4, 5}), torch::zeros({4}, torch::kInt64)}, 2), Error);
}

TEST_CASE("probe: pooling takes the CLS token, the patches' mean, or both") {
  const auto tokens_BTD = torch::arange(12.0F).view({1, 3, 4});
  CHECK(torch::equal(pool(tokens_BTD, feature_pooling("cls")), torch::tensor({{0.0F, 1.0F, 2.0F, 3.0F}})));
  CHECK(torch::equal(pool(tokens_BTD, feature_pooling("mean")), torch::tensor({{6.0F, 7.0F, 8.0F, 9.0F}})));
  CHECK(pool(tokens_BTD, feature_pooling("both")).sizes() == torch::IntArrayRef({1, 8}));
  CHECK_THROWS_WITH_AS(feature_pooling("max"), doctest::Contains("--pool"), Error);
}

TEST_CASE("metrics: the spread is the standard deviation, and one value has none") {
  const auto summary = summarise(std::array{1.0, 2.0, 3.0});
  CHECK(summary.mean == doctest::Approx(2));
  CHECK(summary.spread.value() == doctest::Approx(1));
  CHECK(!summarise(std::array{5.0}).spread.has_value());
}

}  // namespace
}  // namespace beit

#include "core/linear_sweep.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/random.h"
#include "core/linear_probe.h"

namespace beit {
namespace {

// Shape letters: M samples, B of them in a batch, F width, K classes.
LabelledFeatures clusters(int64_t samples, double distance, uint64_t seed) {
  torch::manual_seed(21);
  const auto centres_KF = torch::randn({3, 6}) * distance + 2;
  torch::manual_seed(seed);
  const auto labels_M = torch::arange(samples).remainder(3);
  return {centres_KF.index_select(0, labels_M) + torch::randn({samples, 6}), labels_M};
}

/// One classifier as PyTorch trains it: a graph, its batch norm, its SGD, or LARS as the paper states it.
LinearHeads stated(const LabelledFeatures& train, const LinearSweepOptions& options) {
  const int64_t samples = train.features_MF.size(0), batch = options.batch_size, per_epoch = samples / batch;
  const int64_t steps = per_epoch * options.epochs, warmup = per_epoch * options.warmup_epochs;
  const auto start = starting_weights(3, 6, options.seed, torch::kFloat32);
  auto w_KF = start.slice(1, 0, 6).clone().requires_grad_(), b_K = torch::zeros({3}).requires_grad_();
  torch::nn::BatchNorm1d norm(torch::nn::BatchNorm1dOptions(6).affine(false).eps(1e-6));
  torch::optim::SGD sgd({torch::optim::OptimizerParamGroup({w_KF}), torch::optim::OptimizerParamGroup({b_K})},
                        torch::optim::SGDOptions(1).momentum(options.momentum));
  const auto mean_F = train.features_MF.mean(0), std_F = train.features_MF.std(0, false);
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t epoch = step / per_epoch, first = step % per_epoch * batch;
    Random random(options.seed, static_cast<uint64_t>(epoch) + 1, 0, Purpose::kOrder);
    const auto rows_B = torch::tensor(random.permutation(samples)).slice(0, first, first + batch);
    auto x_BF = train.features_MF.index_select(0, rows_B);
    if (options.norm == FeatureNorm::kStandard) x_BF = (x_BF - mean_F) / std_F;
    if (options.norm == FeatureNorm::kBatch) x_BF = norm->forward(x_BF);
    sgd.zero_grad();
    torch::cross_entropy_loss(x_BF.mm(w_KF.t()) + b_K, train.labels_M.index_select(0, rows_B)).backward();
    const torch::NoGradGuard no_grad;
    w_KF.mutable_grad().add_(w_KF, options.weight_decay);
    if (options.optimizer == ProbeOptimizer::kLars) w_KF.mutable_grad().mul_(0.001 * w_KF.norm() / w_KF.grad().norm());
    const double share =
        step < warmup
            ? static_cast<double>(step + 1) / static_cast<double>(warmup)
            : 0.5 + 0.5 * std::cos(M_PI * static_cast<double>(step - warmup) / static_cast<double>(steps - warmup));
    for (auto& group : sgd.param_groups())
      group.options().set_lr(options.lrs.front() * static_cast<double>(batch) / 256 * share);
    sgd.step();
  }
  LinearHeads heads{w_KF.detach().unsqueeze(0), b_K.detach().unsqueeze(0), torch::zeros({6}), torch::ones({6})};
  if (options.norm == FeatureNorm::kStandard) heads.mean_F = mean_F, heads.scale_F = 1 / std_F;
  if (options.norm == FeatureNorm::kBatch)
    heads.mean_F = norm->running_mean, heads.scale_F = (norm->running_var + 1e-6).rsqrt();
  return heads;
}

void check_equal(const LinearHeads& heads, int64_t head, const LinearHeads& alone) {
  CHECK(torch::allclose(heads.w_LKF[head], alone.w_LKF[0], 1e-4, 1e-5));
  CHECK(torch::allclose(heads.b_LK[head], alone.b_LK[0], 1e-4, 1e-5));
  CHECK(torch::allclose(heads.mean_F, alone.mean_F, 1e-4, 1e-5));
  CHECK(torch::allclose(heads.scale_F, alone.scale_F, 1e-4, 1e-5));
}

TEST_CASE("linear sweep: a head is what autograd, batch norm and SGD or LARS make of it") {
  const auto train = clusters(70, 0.5, 1);
  for (const auto norm : {FeatureNorm::kNone, FeatureNorm::kStandard, FeatureNorm::kBatch}) {
    for (const auto optimizer : {ProbeOptimizer::kSgd, ProbeOptimizer::kLars}) {
      const LinearSweepOptions options{.optimizer = optimizer,
                                       .norm = norm,
                                       .lrs = {optimizer == ProbeOptimizer::kLars ? 2000.0 : 0.8},
                                       .weight_decay = 0.01,
                                       .batch_size = 32,
                                       .epochs = 4,
                                       .warmup_epochs = 1,
                                       .seed = 9};
      const LinearHeads heads = train_linear_heads(train, 3, options);
      check_equal(heads, 0, stated(train, options));
      const auto start = starting_weights(3, 6, 9, torch::kFloat32).slice(1, 0, 6);
      CHECK((heads.w_LKF[0] - start).norm().item<double>() > 0.01);  // it moved at all
    }
  }
}

TEST_CASE("linear sweep: each head becomes what it becomes alone") {
  const auto train = clusters(80, 0.5, 1);
  LinearSweepOptions options{
      .optimizer = ProbeOptimizer::kLars, .lrs = {300, 3000, 10000}, .batch_size = 16, .epochs = 3};
  const LinearHeads all = train_linear_heads(train, 3, options);
  for (int64_t i = 0; i < 3; ++i) {
    LinearSweepOptions one = options;
    one.lrs = {options.lrs[static_cast<size_t>(i)]};
    check_equal(all, i, train_linear_heads(train, 3, one));
  }
  CHECK(!torch::allclose(all.w_LKF[0], all.w_LKF[2], 1e-2, 1e-2));
}

TEST_CASE("linear sweep: clusters are told apart, the held-out part is of the training set, a seed repeats") {
  const auto train = clusters(300, 3, 1), val = clusters(150, 3, 2);
  const LinearSweepOptions options{.lrs = {1e-6, 0.3}, .batch_size = 64, .epochs = 20, .seed = 4};
  const auto results = linear_sweep(train, val, 3, options), again = linear_sweep(train, val, 3, options);
  REQUIRE(results.size() == 2);
  CHECK(results[1].lr == 0.3);
  CHECK(results[1].top1 > 95);
  CHECK(results[1].held_out_top1 > 95);
  CHECK(results[0].top1 < results[1].top1);
  CHECK(results[0].top1 == again[0].top1);
  CHECK(results[0].held_out_top1 == again[0].held_out_top1);
  // Other validation images change nothing of what chooses.
  const auto other = linear_sweep(train, {-val.features_MF, val.labels_M}, 3, options);
  CHECK(other[1].held_out_top1 == results[1].held_out_top1);
  CHECK(other[1].top1 < results[1].top1);
}

TEST_CASE("linear sweep: a rate rises over the warm-up and falls by a cosine to nothing") {
  CHECK(rate_share(0, 10, 2) == doctest::Approx(0.5));
  CHECK(rate_share(1, 10, 2) == doctest::Approx(1));
  CHECK(rate_share(2, 10, 2) == doctest::Approx(1));
  CHECK(rate_share(6, 10, 2) == doctest::Approx(0.5));
  CHECK(rate_share(10, 10, 2) == doctest::Approx(0).epsilon(1e-9));
}

TEST_CASE("linear sweep: what cannot be trained is refused") {
  const auto train = clusters(30, 1, 1);
  const auto refused = [&](const LinearSweepOptions& options, const char* message) {
    CHECK_THROWS_WITH_AS(train_linear_heads(train, 3, options), doctest::Contains(message), Error);
  };
  refused({.lrs = {}}, "--lr");
  refused({.lrs = {0.1, -1}}, "--lr");
  refused({.epochs = 5, .warmup_epochs = 5}, "--warmup-epochs");
  refused({.batch_size = 0}, "--probe-batch");
  refused({.weight_decay = -1}, "weight decay");
  CHECK_THROWS_AS(train_linear_heads(train, 2), Error);  // a label is missing its class
  CHECK_THROWS_AS(linear_sweep(train, {torch::randn({4, 5}), torch::zeros({4}, torch::kInt64)}, 3), Error);
  CHECK_THROWS_WITH_AS(linear_sweep(train, train, 3, {.held_out = 1}), doctest::Contains("share"), Error);
}

}  // namespace
}  // namespace beit

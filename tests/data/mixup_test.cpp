#include "data/mixup.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

TEST_CASE("mixup: images and targets are timm's for the same share and box") {
  const auto tensors = read_safetensors(golden("mixup.safetensors")).tensors;
  const auto images_BCHW = tensors.at("in.images").clone(), labels_B = tensors.at("in.labels").clone();
  for (const std::string name : {"mixup", "cutmix", "cutmix_edge"}) {
    CAPTURE(name);
    const auto box = tensors.at("mix." + name + ".box");
    const auto at = [&](int64_t i) { return box[i].item<int64_t>(); };
    const Mix mix{tensors.at("mix." + name + ".share").item<double>(), {at(0), at(1), at(2), at(3)}};
    const auto batch = mix_batch(images_BCHW, labels_B, 5, 0.1, mix);
    CHECK(torch::equal(batch.images_BCHW, tensors.at("out." + name + ".images")));
    CHECK(torch::equal(batch.targets_BK, tensors.at("out." + name + ".targets")));
    CHECK(torch::equal(images_BCHW, tensors.at("in.images")));
  }
}

TEST_CASE("mixup: a share of 1 leaves the images and smooths the targets") {
  const auto images_BCHW = torch::randn({3, 3, 4, 4});
  const auto batch = mix_batch(images_BCHW, torch::tensor({1, 0, 1}), 4, 0.2, {});
  CHECK(batch.images_BCHW.is_same(images_BCHW));
  CHECK(torch::allclose(batch.targets_BK[1], torch::tensor({0.85F, 0.05F, 0.05F, 0.05F})));
  CHECK(torch::allclose(batch.targets_BK.sum(1), torch::ones(3)));
}

TEST_CASE("mixup: the middle image of an odd batch is its own partner") {
  const auto images_BCHW = torch::randn({3, 3, 4, 4});
  const auto batch = mix_batch(images_BCHW, torch::tensor({1, 0, 2}), 3, 0.0, {.share = 0.25, .box = {}});
  CHECK(torch::allclose(batch.images_BCHW[1], images_BCHW[1]));
  CHECK(torch::allclose(batch.images_BCHW[0], 0.25 * images_BCHW[0] + 0.75 * images_BCHW[2]));
  CHECK(torch::allclose(batch.targets_BK[1], torch::tensor({1.0F, 0.0F, 0.0F})));
}

TEST_CASE("mixup: partners from elsewhere mix as those of a whole batch do") {
  const auto images_BCHW = torch::randn({4, 3, 6, 5}), labels_B = torch::tensor({1, 0, 2, 2});
  for (const Mix& mix : {Mix{.share = 0.3, .box = {}}, Mix{.share = 0.8, .box = {1, 2, 3, 2}}}) {
    const auto whole = mix_batch(images_BCHW, labels_B, 3, 0.1, mix);
    const auto own = images_BCHW.slice(0, 0, 2), others = images_BCHW.slice(0, 2, 4).flip(0);
    const Partners partners{given_pixels(others, mix), labels_B.slice(0, 2, 4).flip(0)};
    const auto half = mix_batch(own, labels_B.slice(0, 0, 2), partners, 3, 0.1, mix);
    CHECK(torch::equal(half.images_BCHW, whole.images_BCHW.slice(0, 0, 2)));
    CHECK(torch::equal(half.targets_BK, whole.targets_BK.slice(0, 0, 2)));
    CHECK_THROWS_AS(mix_batch(own, labels_B.slice(0, 0, 2), {}, 3, 0.1, mix), Error);
  }
}

TEST_CASE("mixup: shares are from the Beta distribution, and each kind is drawn as often as stated") {
  for (const double alpha : {0.2, 0.8, 3.0}) {
    CAPTURE(alpha);
    double sum = 0.0, squares = 0.0;
    constexpr int kDraws = 20000;
    Random random(1, 0, 0, Purpose::kStep);
    for (int i = 0; i < kDraws; ++i) {
      const double share = draw_mix({.mixup_alpha = alpha}, {8, 8}, random).share;
      REQUIRE((share >= 0.0 && share <= 1.0));
      sum += share, squares += share * share;
    }
    const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
    CHECK(mean == doctest::Approx(0.5).epsilon(0.02));
    CHECK(variance == doctest::Approx(1.0 / (4.0 * (2.0 * alpha + 1.0))).epsilon(0.04));
  }
  Random random(2, 0, 0, Purpose::kStep);
  int cut = 0, mixed = 0;
  for (int i = 0; i < 4000; ++i) {
    const Mix mix = draw_mix({.mixup_alpha = 0.8, .cutmix_alpha = 1.0, .probability = 0.75, .switch_probability = 0.4},
                             {64, 64}, random);
    (mix.box.height > 0 ? cut : mixed) += mix.share < 1.0 ? 1 : 0;
  }
  CHECK(cut / 4000.0 == doctest::Approx(0.3).epsilon(0.1));
  CHECK(mixed / 4000.0 == doctest::Approx(0.45).epsilon(0.1));
}

TEST_CASE("mixup: a cutmix box lies in the image, and the share is what it leaves") {
  Random random(1, 0, 0, Purpose::kStep);
  double sum = 0.0;
  bool clipped = false;
  for (int i = 0; i < 2000; ++i) {
    const Mix mix = draw_mix({.cutmix_alpha = 1.0}, {30, 40}, random);
    const Box& box = mix.box;
    REQUIRE((box.top >= 0 && box.left >= 0 && box.top + box.height <= 30 && box.left + box.width <= 40));
    REQUIRE(mix.share == doctest::Approx(1.0 - static_cast<double>(box.height * box.width) / 1200.0));
    sum += mix.share;
    clipped = clipped || std::abs(static_cast<double>(box.height) / 30 - static_cast<double>(box.width) / 40) > 0.2;
  }
  CHECK(clipped);
  CHECK((sum / 2000 > 0.6 && sum / 2000 < 0.75));  // a half, less what is cut off
}

TEST_CASE("mixup: off draws nothing; other input is refused") {
  Random random(1, 0, 0, Purpose::kStep), untouched = random;
  CHECK(draw_mix({}, {8, 8}, random).share == 1.0);
  CHECK(random.bits() == untouched.bits());
  CHECK_THROWS_AS(draw_mix({.mixup_alpha = -1.0}, {8, 8}, random), Error);
  CHECK_THROWS_AS(draw_mix({.mixup_alpha = 1.0, .probability = 2.0}, {8, 8}, random), Error);
  const auto images_BCHW = torch::zeros({2, 3, 4, 4});
  const auto labels_B = torch::tensor({0, 3});
  CHECK(contains(error_of([&] { mix_batch(images_BCHW, labels_B, 3, 0.1, {}); }), "labels in [0, 3), got 0 to 3"));
  CHECK_THROWS_AS(mix_batch(images_BCHW[0], labels_B, 4, 0.1, {}), Error);
  CHECK_THROWS_AS(mix_batch(images_BCHW, torch::tensor({1}), 4, 0.1, {}), Error);
  CHECK_THROWS_AS(mix_batch(images_BCHW, labels_B, 4, 1.0, {}), Error);
  CHECK_THROWS_AS(mix_batch(images_BCHW, labels_B, 4, 0.1, {.share = 0.5, .box = {3, 0, 2, 2}}), Error);
}

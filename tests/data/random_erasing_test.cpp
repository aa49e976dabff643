#include "data/random_erasing.h"

#include <doctest/doctest.h>

#include "tests/data/samples.h"

using namespace beit;

TEST_CASE("random_erasing: a rectangle of the stated area is filled with standard normal noise") {
  constexpr int64_t kSide = 60;
  double least = 1.0, most = 0.0, sum = 0.0, squares = 0.0, count = 0.0;
  bool tall = false, wide = false;
  for (uint64_t index = 0; index < 300; ++index) {
    Random random(2, 0, index, Purpose::kAugment);
    const auto image_CHW = torch::full({3, kSide, kSide}, 100.0F);
    random_erasing_(image_CHW, {.probability = 1.0}, random);
    const auto erased_CHW = image_CHW.ne(100.0F);
    REQUIRE(torch::equal(erased_CHW[0], erased_CHW[1]));
    REQUIRE(torch::equal(erased_CHW[0], erased_CHW[2]));
    const auto rows = erased_CHW[0].any(1), columns = erased_CHW[0].any(0);
    const auto height = rows.sum().item<int64_t>(), width = columns.sum().item<int64_t>();
    REQUIRE(erased_CHW[0].sum().item<int64_t>() == height * width);  // one rectangle
    const auto noise = image_CHW.masked_select(erased_CHW);
    sum += noise.sum().item<double>(), squares += noise.square().sum().item<double>();
    count += static_cast<double>(noise.numel());
    const double share = static_cast<double>(height * width) / (kSide * kSide);
    least = std::min(least, share), most = std::max(most, share);
    tall = tall || height > 2 * width, wide = wide || width > 2 * height;
  }
  CHECK((least > 0.015 && least < 0.03));
  CHECK((most > 0.31 && most < 0.345));
  CHECK((tall && wide));
  CHECK(sum / count == doctest::Approx(0.0).epsilon(0.01));
  CHECK(squares / count == doctest::Approx(1.0).epsilon(0.01));
}

TEST_CASE("random_erasing: as often as the probability says, several rectangles where asked, and off") {
  int changed = 0;
  for (uint64_t index = 0; index < 2000; ++index) {
    Random random(3, 0, index, Purpose::kAugment);
    const auto image_CHW = torch::zeros({3, 9, 11});
    random_erasing_(image_CHW, {.probability = 0.25}, random);
    changed += image_CHW.any().item<bool>() ? 1 : 0;
  }
  CHECK((changed > 430 && changed < 570));
  Random random(3, 0, 0, Purpose::kAugment), untouched = random;
  const auto image_CHW = torch::zeros({3, 40, 40});
  random_erasing_(image_CHW, {.probability = 0.0}, random);
  CHECK(!image_CHW.any().item<bool>());
  CHECK(random.bits() == untouched.bits());
  random_erasing_(image_CHW, {.probability = 1.0, .count = 20, .min_area = 0.3, .max_area = 0.3}, random);
  const auto share = image_CHW[0].ne(0.0).to(torch::kFloat32).mean().item<double>();
  CHECK((share > 0.15 && share < 0.31));  // twenty of 1.5% each, some over one another
}

TEST_CASE("random_erasing: other images and options are refused") {
  Random random(3, 0, 0, Purpose::kAugment);
  CHECK_THROWS_AS(random_erasing_(torch::zeros({3, 4, 4}, torch::kUInt8), {.probability = 0.5}, random), Error);
  CHECK_THROWS_AS(random_erasing_(torch::zeros({4, 4}), {.probability = 0.5}, random), Error);
  CHECK_THROWS_AS(random_erasing_(torch::zeros({3, 4, 4}), {.probability = 1.5}, random), Error);
  CHECK_THROWS_AS(random_erasing_(torch::zeros({3, 4, 4}), {.probability = 0.5, .min_area = 0.5}, random), Error);
  const auto pixel_CHW = torch::zeros({3, 1, 1});
  random_erasing_(pixel_CHW, {.probability = 1.0}, random);  // no rectangle is smaller: none, or one of no pixels
  CHECK(!pixel_CHW.any().item<bool>());
}

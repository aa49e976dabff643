#include "data/color_jitter.h"

#include <doctest/doctest.h>

#include "data/augment.h"
#include "tests/data/samples.h"

using namespace beit;

namespace {

torch::Tensor cut(const torch::Tensor& pixels_HWC, const Box& box) {
  return pixels_HWC.slice(0, box.top, box.top + box.height).slice(1, box.left, box.left + box.width);
}

}  // namespace

TEST_CASE("colour jitter: a part is jittered as it is in the whole picture, draw for draw, bit by bit") {
  const auto image_HWC = picture(37, 53);
  const Box part{5, 11, 20, 30}, whole{0, 0, 37, 53};
  for (uint64_t index = 0; index < 60; ++index) {
    CAPTURE(index);
    Random random(1, 2, index, Purpose::kAugment), same = random;
    const double strength = index % 3 == 0 ? 1.5 : 0.4;
    auto expected_HWC = image_HWC.clone();
    color_jitter_(expected_HWC, strength, random);
    const ColorJitter jitter = draw_color_jitter(strength, same);
    CHECK(random.bits() == same.bits());
    auto pixels_HWC = image_HWC.clone();
    apply_jitter_(pixels_HWC, jitter, part, whole);
    REQUIRE(torch::equal(cut(pixels_HWC, part), cut(expected_HWC, part)));
    auto planes_CHW = image_HWC.permute({2, 0, 1}).contiguous();
    apply_jitter_(planes_CHW, jitter);
    REQUIRE(torch::equal(planes_CHW.permute({1, 2, 0}), expected_HWC));
  }
}

TEST_CASE("colour jitter: contrast takes the mean grey of what it is told to") {
  auto image_HWC = torch::zeros({10, 10, 3}, torch::kUInt8);
  image_HWC.slice(0, 5).fill_(200);
  const ColorJitter plain{{{ColorChange::kContrast, 0.0}}};
  const Box bottom{5, 0, 5, 10};
  auto pixels_HWC = image_HWC.clone();
  apply_jitter_(pixels_HWC, plain, bottom, {0, 0, 10, 10});
  CHECK(cut(pixels_HWC, bottom).eq(100).all().item<bool>());
  pixels_HWC = image_HWC.clone();
  apply_jitter_(pixels_HWC, plain, bottom, bottom);
  CHECK(cut(pixels_HWC, bottom).eq(200).all().item<bool>());
  CHECK(torch::equal(cut(pixels_HWC, {0, 0, 5, 10}), cut(image_HWC, {0, 0, 5, 10})));
}

TEST_CASE("colour jitter: strength 0 draws nothing, a negative one is refused") {
  Random random(1, 2, 3, Purpose::kAugment), untouched = random;
  CHECK(draw_color_jitter(0.0, random).steps.empty());
  CHECK(random.bits() == untouched.bits());
  CHECK_THROWS_AS(draw_color_jitter(-0.1, random), Error);
  const auto pixels_HWC = torch::zeros({4, 5, 3}, torch::kUInt8);
  CHECK_THROWS_AS(apply_jitter_(pixels_HWC, ColorJitter{}), Error);  // no planes
  const ColorJitter jitter = draw_color_jitter(0.4, random);
  CHECK_THROWS_AS(apply_jitter_(pixels_HWC, jitter, {0, 0, 4, 5}, {0, 0, 4, 4}), Error);
  CHECK_THROWS_AS(apply_jitter_(pixels_HWC, jitter, {0, 0, 4, 5}, {0, 0, 5, 5}), Error);
}

#include "data/augment.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

TEST_CASE("augment: brightness, contrast and saturation are Pillow's, at every pixel") {
  const auto tensors = read_safetensors(golden("augment.safetensors")).tensors;
  const std::vector<std::pair<std::string, void (*)(const torch::Tensor&, double)>> operations{
      {"brightness", adjust_brightness_}, {"contrast", adjust_contrast_}, {"saturation", adjust_saturation_}};
  for (const auto& [name, operation] : operations) {
    for (const std::string factor : {"0.6", "1.3"}) {
      CAPTURE(name);
      CAPTURE(factor);
      const auto pixels_HWC = tensors.at("in.image").clone();
      operation(pixels_HWC, std::stod(factor));
      CHECK(torch::equal(pixels_HWC, tensors.at("out." + name + "_" + factor)));
    }
  }
}

TEST_CASE("augment: factor 1 changes nothing, factor 0 leaves the plain image") {
  const auto image_HWC = picture(9, 11);
  for (const auto operation : {adjust_brightness_, adjust_contrast_, adjust_saturation_}) {
    auto pixels_HWC = image_HWC.clone();
    operation(pixels_HWC, 1.0);
    CHECK(torch::equal(pixels_HWC, image_HWC));
    CHECK_THROWS_AS(operation(pixels_HWC, -0.1), Error);
  }
  const auto pixels_HWC = image_HWC.clone();
  adjust_brightness_(pixels_HWC, 0.0);
  CHECK(pixels_HWC.eq(0).all().item<bool>());
}

TEST_CASE("augment: random crops lie in the picture and keep the stated share and shape") {
  Random random(3, 0, 0, Purpose::kAugment);
  double least = 1.0, most = 0.0, sum = 0.0;
  constexpr int kDraws = 5000;
  for (int i = 0; i < kDraws; ++i) {
    const Box box = random_resized_crop({300, 400}, 0.2, 1.0, random);
    REQUIRE((box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0));
    REQUIRE((box.top + box.height <= 300 && box.left + box.width <= 400));
    const double share = static_cast<double>(box.height * box.width) / (300.0 * 400.0);
    const double aspect = static_cast<double>(box.width) / static_cast<double>(box.height);
    REQUIRE((aspect > 0.73 && aspect < 1.36));
    least = std::min(least, share), most = std::max(most, share), sum += share;
  }
  CHECK((least > 0.195 && least < 0.21));
  CHECK(most > 0.9);
  CHECK((sum / kDraws > 0.48 && sum / kDraws < 0.51));  // uniform in area, but fewer of the largest fit
}

TEST_CASE("augment: where no crop fits, the largest centred one is taken") {
  Random random(3, 0, 0, Purpose::kAugment);
  CHECK(random_resized_crop({100, 1000}, 1.0, 1.0, random) == Box{0, 433, 100, 133});
  CHECK(random_resized_crop({1000, 90}, 1.0, 1.0, random) == Box{440, 0, 120, 90});
  CHECK(random_resized_crop({1, 1}, 1.0, 1.0, random) == Box{0, 0, 1, 1});
  CHECK_THROWS_AS(random_resized_crop({4, 4}, 0.0, 1.0, random), Error);
  CHECK_THROWS_AS(random_resized_crop({4, 4}, 0.5, 1.5, random), Error);
}

TEST_CASE("augment: floats are scaled, normalised and mirrored as stated") {
  const auto image_HWC = picture(6, 5);
  const auto expected_CHW = image_HWC.permute({2, 0, 1}).to(torch::kFloat32) / 255;
  CHECK(torch::equal(to_float(image_HWC), expected_CHW));
  CHECK(torch::equal(to_float(image_HWC, kUnitScale, true), expected_CHW.flip(2)));
  const auto mean = torch::tensor({0.485F, 0.456F, 0.406F}).view({3, 1, 1}),
             std = torch::tensor({0.229F, 0.224F, 0.225F}).view({3, 1, 1});
  CHECK(torch::equal(to_float(image_HWC, kImagenetScale), (expected_CHW - mean) / std));
}

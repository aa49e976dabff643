#include "data/rand_augment.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

TEST_CASE("rand_augment: each operation at a magnitude is timm's, increasing or not, either way") {
  const auto tensors = read_safetensors(golden("operations.safetensors")).tensors;
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    if (!name.starts_with("timm.")) continue;  // timm.INCREASING.OPERATION.MAGNITUDE.NEGATIVE
    CAPTURE(name);
    const auto operation_end = name.find('.', 7), sign = name.rfind('.');
    const auto operation = static_cast<RandAugmentOperation>(std::stoi(name.substr(7, operation_end - 7)));
    const auto pixels_HWC = tensors.at("in.timm").clone();
    apply_operation_(pixels_HWC, operation, std::stod(name.substr(operation_end + 1, sign - operation_end - 1)),
                     name[sign + 1] == '1', {.increasing = name[5] == '1', .fill = {7, 200, 99}});
    CHECK(torch::equal(pixels_HWC, expected));
    ++compared;
  }
  CHECK(compared == 2 * kRandAugmentOperations * 5);
}

TEST_CASE("rand_augment: timm's text is understood, and off") {
  const auto published = parse_rand_augment("rand-m9-mstd0.5-inc1");
  CHECK(published.layers == 2);
  CHECK(published.magnitude == 9.0);
  CHECK(published.magnitude_std == 0.5);
  CHECK(published.increasing);
  CHECK(published.probability == 0.5);
  CHECK(published.fill == kMeanColor);
  const auto other = parse_rand_augment("rand-n3-p0.75-m4");
  CHECK(other.layers == 3);
  CHECK(other.magnitude == 4.0);
  CHECK(other.magnitude_std == 0.0);
  CHECK(!other.increasing);
  CHECK(other.probability == 0.75);
  CHECK(parse_rand_augment("rand").magnitude == 10.0);
  CHECK(parse_rand_augment("").layers == 0);
  CHECK(parse_rand_augment("none").layers == 0);
}

TEST_CASE("rand_augment: a wrong part is refused by name, with those that are known") {
  for (const std::string part :
       {"m11", "m", "m-1", "mstd-1", "mstdx", "n0", "n1.5", "inc2", "p1.5", "q3", "9", "mm9", "m9x", "mnan", ""}) {
    CAPTURE(part);
    const auto error = error_of([&] { parse_rand_augment("rand-" + part); });
    CHECK(contains(error, "RandAugment: expected"));
    CHECK(contains(error, "mstd (its deviation"));
  }
  CHECK(contains(error_of([] { parse_rand_augment("augmix-m3"); }), "got 'augmix-m3'"));
  CHECK(contains(error_of([] { parse_rand_augment("none-m3"); }), "expected rand"));
}

TEST_CASE("rand_augment: a function of the stream; off, it draws nothing") {
  std::vector<torch::Tensor> results;
  for (const uint64_t index : {5U, 5U, 6U}) {
    Random random(1, 2, index, Purpose::kAugment);
    results.push_back(picture(19, 23));
    rand_augment_(results.back(), {.layers = 6, .magnitude = 9.0, .probability = 1.0}, random);
  }
  CHECK(torch::equal(results[0], results[1]));
  CHECK(!torch::equal(results[0], results[2]));
  Random random(1, 2, 3, Purpose::kAugment), untouched = random;
  rand_augment_(results[0], parse_rand_augment("none"), random);
  CHECK(torch::equal(results[0], results[1]));
  CHECK(random.bits() == untouched.bits());
}

TEST_CASE("rand_augment: operations are applied as often as the probability says") {
  const auto image_HWC = picture(8, 9);
  int changed = 0;
  constexpr uint64_t kDraws = 2000;
  for (uint64_t index = 0; index < kDraws; ++index) {
    Random random(4, 0, index, Purpose::kAugment);
    const auto pixels_HWC = image_HWC.clone();
    rand_augment_(pixels_HWC, {.layers = 1, .magnitude = 9.0, .increasing = true, .probability = 0.3}, random);
    changed += torch::equal(pixels_HWC, image_HWC) ? 0 : 1;
  }
  // Equalize changes nothing of 72 pixels; the other fourteen do.
  CHECK(static_cast<double>(changed) / kDraws == doctest::Approx(0.3 * 14.0 / 15.0).epsilon(0.1));
}

TEST_CASE("rand_augment: the magnitude's deviation matters, and it stays in its range") {
  const auto image_HWC = picture(8, 9);
  std::vector<torch::Tensor> results;
  for (const double deviation : {0.0, 50.0}) {
    for (uint64_t index = 0; index < 200; ++index) {
      Random random(4, 0, index, Purpose::kAugment);
      results.push_back(image_HWC.clone());
      rand_augment_(results.back(), {.magnitude = 5.0, .magnitude_std = deviation, .probability = 1.0}, random);
    }
  }
  int differ = 0;
  for (size_t i = 0; i < 200; ++i) differ += torch::equal(results[i], results[i + 200]) ? 0 : 1;
  CHECK(differ > 100);
  CHECK_THROWS_AS(apply_operation_(image_HWC, RandAugmentOperation::kRotate, 10.5, false, {}), Error);
}

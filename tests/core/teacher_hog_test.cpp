#include "core/teacher_hog.h"

#include <doctest/doctest.h>

#include <numbers>

#include "base/error.h"
#include "tests/core/golden.h"

using namespace beit;

namespace {

/// [1, 3, 12, 12]: brightness that rises by `slope` a pixel in the direction of that angle; 3x3 patches of 4 pixels.
torch::Tensor ramp(double degrees, double slope = 0.02) {
  const double angle = degrees * std::numbers::pi / 180;
  const auto y = torch::arange(12, torch::kFloat64).view({12, 1}), x = torch::arange(12, torch::kFloat64);
  return (0.5 + slope * (x * std::cos(angle) + y * std::sin(angle))).expand({1, 3, 12, 12}).to(torch::kFloat32);
}

/// One cell's histogram in the middle patch of a ramp.
torch::Tensor middle_cell(double degrees) { return hog(ramp(degrees), {3, 3})[0][4].view({3, 2, 2, 9})[1][0][1]; }

/// What it must be: `votes` by bin, for a gradient of length 0.02, the same in all four cells.
torch::Tensor expected_cell(std::initializer_list<std::pair<int64_t, float>> votes) {
  auto bins = torch::zeros(9);
  for (const auto& [bin, share] : votes) bins[bin] = share * 0.02F;
  return bins / (4 * bins.square().sum() + 1.0 / (255 * 255)).sqrt();
}

}  // namespace

TEST_CASE("hog: a ramp votes for the two bins nearest to its angle, by hand") {
  CHECK(difference(middle_cell(0), expected_cell({{0, 1.F}})) < 1e-5);
  CHECK(difference(middle_cell(20), expected_cell({{1, 1.F}})) < 1e-5);
  CHECK(difference(middle_cell(45), expected_cell({{2, 0.75F}, {3, 0.25F}})) < 1e-5);
  CHECK(difference(middle_cell(90), expected_cell({{4, 0.5F}, {5, 0.5F}})) < 1e-5);
  CHECK(difference(middle_cell(175), expected_cell({{8, 0.25F}, {0, 0.75F}})) < 1e-5);
  CHECK(difference(middle_cell(180), expected_cell({{0, 1.F}})) < 1e-5);
  CHECK(difference(middle_cell(225), expected_cell({{2, 0.75F}, {3, 0.25F}})) < 1e-5);
}

TEST_CASE("hog: at the border the picture is repeated, so that a ramp's gradient is halved there") {
  // Columns have gradients 1/2 1 1 1 1 1 1 1/2: both cells' means are 7/8.
  const auto one = hog(ramp(0).slice(2, 0, 8).slice(3, 0, 8), {1, 1})[0][0].view({3, 2, 2, 9});
  const double cell = 0.02 * 7 / 8;
  CHECK(std::abs(one[0][0][0][0].item<double>() - cell / std::sqrt(4 * cell * cell + 1.0 / (255 * 255))) < 1e-5);
  CHECK(difference(one.select(3, 0), one.select(3, 0)[0][0][0].expand({3, 2, 2})) < 1e-5);
  CHECK(one.slice(3, 1).abs().max().item<float>() < 1e-5);
}

TEST_CASE("hog: the order is patch, colour channel, row and column of the cell, orientation") {
  auto image = torch::zeros({1, 3, 8, 16});
  image[0][2][6][9] = 1;  // blue, in the second patch of 8x8 (its column 1), lower left cell
  const auto found = hog(image, {1, 2})[0];
  CHECK(found.sizes() == torch::IntArrayRef({2, kHogWidth}));
  const auto patch = found[1].view({3, 2, 2, 9});
  CHECK(patch[2][1][0].abs().sum().item<float>() > 0);
  auto others = patch.clone();
  others[2][1][0] = 0;
  CHECK(others.abs().max().item<float>() == 0);
  CHECK(found[0].abs().max().item<float>() == 0);
}

TEST_CASE("hog: a patch without contrast gives zeros") {
  CHECK(hog(torch::full({2, 3, 16, 24}, 0.3F), {2, 3}).abs().max().item<float>() == 0);
  CHECK(hog(torch::ones({1, 3, 16, 16}), {4, 4}).abs().max().item<float>() == 0);
}

TEST_CASE("hog: brightness, inversion and strong contrast change nothing") {
  torch::manual_seed(5);
  const auto images = torch::rand({2, 3, 16, 16});
  const auto expected = hog(images, {2, 2});
  CHECK(difference(hog(images * 0.5 + 0.4, {2, 2}), expected) < 1e-2);
  CHECK(difference(hog(images + 0.25, {2, 2}), expected) < 1e-5);
  CHECK(difference(hog(1 - images, {2, 2}), expected) < 1e-5);
}

TEST_CASE("hog: each channel of a patch with contrast has length one") {
  torch::manual_seed(6);
  const auto lengths = hog(torch::rand({1, 3, 16, 16}), {2, 2}).view({4, 3, 36}).norm(2, -1);
  CHECK(difference(lengths, torch::ones({4, 3})) < 1e-2);
  CHECK(lengths.max().item<float>() <= 1.00001F);
}

TEST_CASE("hog: a mirrored picture has mirrored cells and angles") {
  torch::manual_seed(7);
  const auto images = torch::rand({1, 3, 16, 24});
  const auto found = hog(images, {2, 3}).view({2, 3, 3, 2, 2, 9});
  // Mirroring takes angle a to 180 degrees - a: bin k to bin (9 - k) modulo 9.
  const auto bins = torch::tensor({0, 8, 7, 6, 5, 4, 3, 2, 1});
  const auto mirrored = hog(images.flip(3), {2, 3}).view({2, 3, 3, 2, 2, 9}).flip({1, 4}).index_select(5, bins);
  CHECK(difference(mirrored, found) < 1e-5);
}

TEST_CASE("hog: pictures of other forms than patches of at least 4 pixels are refused") {
  CHECK(hog(torch::rand({1, 3, 10, 15}), {2, 3}).sizes() == torch::IntArrayRef({1, 6, kHogWidth}));  // odd patches
  CHECK_THROWS_WITH_AS(hog(torch::rand({1, 3, 9, 16}), {2, 4}), doctest::Contains("2x4 patches"), Error);
  CHECK_THROWS_AS(hog(torch::rand({1, 3, 6, 6}), {2, 2}), Error);
  CHECK_THROWS_AS(hog(torch::rand({1, 1, 8, 8}), {2, 2}), Error);
  CHECK_THROWS_AS(hog(torch::rand({3, 8, 8}), {2, 2}), Error);
}

TEST_CASE("hog: the teacher describes pictures of its own size") {
  HogTeacher own({.kind = "hog", .patch_size = 8}, {2, 3});
  CHECK(own.width() == kHogWidth);
  CHECK_FALSE(own.standardised());
  torch::manual_seed(8);
  const auto images = torch::rand({2, 3, 16, 24});
  CHECK(torch::equal(own.target(images), hog(images, {2, 3})));
  HogTeacher smaller({.kind = "hog", .image_size = 8}, {2, 3});  // 4 pixels a patch
  CHECK(smaller.target(images).sizes() == torch::IntArrayRef({2, 6, kHogWidth}));
  CHECK_FALSE(torch::allclose(smaller.target(images), own.target(images), 0, 0.1));
  CHECK_THROWS_WITH_AS(HogTeacher({.kind = "hog", .image_size = 7}, {2, 3}),
                       doctest::Contains("hog teacher: expected an image size that is a multiple of the grid's 2"),
                       Error);
  CHECK_THROWS_WITH_AS(HogTeacher({.kind = "hog", .patch_size = 2}, {2, 3}),
                       doctest::Contains("at least 4 pixels, got 2"), Error);
}

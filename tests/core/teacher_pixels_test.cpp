#include "core/teacher_pixels.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/core/golden.h"

using namespace beit;

TEST_CASE("pixels: two patches by hand, in the order row, column, colour channel") {
  // Red 0 .. 7, green 10 .. 17, blue 20 .. 27, row by row; patches of 2x2.
  const auto image =
      torch::stack({torch::arange(8), torch::arange(10, 18), torch::arange(20, 28)}).view({1, 3, 2, 4}) / 100.0;
  const auto found = normalised_patches(image, {1, 2});
  CHECK(found.sizes() == torch::IntArrayRef({1, 2, 12}));
  const auto patch = [](const std::vector<double>& values) {
    const auto x = torch::tensor(values, torch::kFloat64) / 100;
    return (x - x.mean()) / ((x - x.mean()).square().sum() / 11 + 1e-6).sqrt();
  };
  CHECK(difference(found[0][0], patch({0, 10, 20, 1, 11, 21, 4, 14, 24, 5, 15, 25})) < 1e-5);
  CHECK(difference(found[0][1], patch({2, 12, 22, 3, 13, 23, 6, 16, 26, 7, 17, 27})) < 1e-5);
}

TEST_CASE("pixels: patches have mean zero and variance one, those of one value are zeros") {
  torch::manual_seed(5);
  auto images = torch::rand({2, 3, 8, 12});
  images[1] = 0.75F;
  const auto found = normalised_patches(images, {2, 3});
  CHECK(difference(found[0].mean(-1), torch::zeros(6)) < 1e-5);
  CHECK(difference(found[0].var(-1), torch::ones(6)) < 1e-4);
  CHECK(found[1].abs().max().item<float>() == 0);
}

TEST_CASE("pixels: brightness and contrast of a patch change nothing") {
  torch::manual_seed(6);
  const auto images = torch::rand({1, 3, 8, 8});
  CHECK(difference(normalised_patches(images * 0.5 + 0.3, {2, 2}), normalised_patches(images, {2, 2})) < 1e-4);
}

TEST_CASE("pixels: only square patches are taken") {
  CHECK_THROWS_WITH_AS(normalised_patches(torch::rand({1, 3, 8, 8}), {2, 4}), doctest::Contains("2x4 square patches"),
                       Error);
  CHECK_THROWS_AS(normalised_patches(torch::rand({1, 3, 9, 8}), {2, 2}), Error);
  CHECK_THROWS_AS(normalised_patches(torch::rand({1, 1, 8, 8}), {2, 2}), Error);
  CHECK_THROWS_AS(normalised_patches(torch::rand({3, 8, 8}), {2, 2}), Error);
  CHECK_THROWS_AS(normalised_patches(torch::rand({1, 3, 0, 0}), {2, 2}), Error);
}

TEST_CASE("pixels: the teacher describes pictures of its own size") {
  PixelTeacher own({.kind = "pixels", .patch_size = 4}, {2, 3});
  CHECK(own.width() == 48);
  torch::manual_seed(7);
  const auto images = torch::rand({2, 3, 8, 12});
  CHECK(torch::equal(own.target(images), normalised_patches(images, {2, 3})));
  PixelTeacher smaller({.kind = "pixels", .image_size = 4, .patch_size = 4}, {2, 3});
  CHECK(smaller.width() == 12);
  CHECK(smaller.target(images).sizes() == torch::IntArrayRef({2, 6, 12}));
  CHECK_THROWS_WITH_AS(PixelTeacher({.kind = "pixels", .image_size = 7}, {2, 3}),
                       doctest::Contains("pixels teacher: expected an image size that is a multiple of the grid's 2"),
                       Error);
  CHECK_THROWS_WITH_AS(PixelTeacher({.kind = "pixels", .patch_size = 0}, {2, 3}),
                       doctest::Contains("expected a positive patch size, got 0"), Error);
}

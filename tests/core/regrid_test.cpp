#include "core/regrid.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/core/golden.h"
#include "tests/support.h"

using namespace beit;

TEST_CASE("regrid: position embeddings are resized as in the published code") {
  const auto tensors = read_safetensors(golden("resize_positions.safetensors")).tensors;
  const auto& positions_1TD = tensors.at("in.abs_14_24");
  const auto found = resize_positions(positions_1TD, {14, 14}, {24, 24});
  CHECK(difference(found, tensors.at("out.abs_14_24")) < 1e-5);
  CHECK(torch::equal(found.slice(1, 0, 1), positions_1TD.slice(1, 0, 1)));
  CHECK(torch::equal(resize_positions(positions_1TD, {14, 14}, {14, 14}), positions_1TD));
  CHECK(resize_positions(positions_1TD, {14, 14}, {7, 20}).sizes() == torch::IntArrayRef({1, 141, 16}));
  CHECK_THROWS_WITH_AS(resize_positions(positions_1TD, {7, 7}, {14, 14}),
                       doctest::Contains("expected [1, 50, D] for 7x7 patches and CLS, got [1, 197, 16]"), Error);
}

TEST_CASE("regrid: position embeddings keep their dtype, and take in every position only where asked to") {
  torch::manual_seed(3);
  const auto positions_1TD = torch::randn({1, 65, 4});
  for (const auto dtype : {torch::kFloat16, torch::kFloat64}) {
    const auto found = resize_positions(positions_1TD.to(dtype), {8, 8}, {3, 2});
    CHECK((found.scalar_type() == dtype));
    CHECK(difference(found, resize_positions(positions_1TD, {8, 8}, {3, 2})) < 1e-2);
  }
  auto corner = torch::zeros({1, 65, 1});
  corner[0][1] = 1;
  CHECK(torch::equal(resize_positions(corner, {8, 8}, {1, 1}), torch::zeros({1, 2, 1})));
  CHECK(resize_positions(corner, {8, 8}, {1, 1}, /*antialias=*/true).abs().sum().item<double>() > 1e-3);
}

TEST_CASE("regrid: rows and columns of a grid are not taken for each other") {
  const Grid from{2, 3}, to{4, 6};
  const auto rows_BND = torch::tensor({0.F, 0.F, 0.F, 1.F, 1.F, 1.F}).view({1, 6, 1});  // a value a row
  const auto columns_BND = torch::tensor({0.F, 1.F, 2.F, 0.F, 1.F, 2.F}).view({1, 6, 1});
  const auto rows = resize_map(rows_BND, from, to).view({4, 6}),
             columns = resize_map(columns_BND, from, to).view({4, 6});
  CHECK(difference(rows.select(1, 0), torch::tensor({0.F, 0.25F, 0.75F, 1.F})) < 1e-6);
  CHECK(difference(columns[0], torch::tensor({0.F, 0.25F, 0.75F, 1.25F, 1.75F, 2.F})) < 1e-6);
  for (int64_t i = 0; i < 6; ++i) CHECK(torch::equal(rows.select(1, i), rows.select(1, 0)));
}

TEST_CASE("regrid: a map that shrinks takes in every patch, and one of the same grid is the input") {
  torch::manual_seed(4);
  const auto map_BND = torch::randn({2, 16, 3});
  CHECK(resize_map(map_BND, {4, 4}, {4, 4}).is_same(map_BND));
  const auto one = resize_map(map_BND, {4, 4}, {1, 1});
  CHECK(one.sizes() == torch::IntArrayRef({2, 1, 3}));
  for (int64_t patch = 0; patch < 16; ++patch) {
    auto changed = map_BND.clone();
    changed.select(1, patch) += 1;
    CHECK(difference(resize_map(changed, {4, 4}, {1, 1}), one) > 1e-3);
  }
  CHECK(difference(resize_map(torch::ones({1, 16, 3}), {4, 4}, {3, 7}), torch::ones({1, 21, 3})) < 1e-6);
}

TEST_CASE("regrid: images are resized as by Pillow, up to its rounding to bytes") {
  const auto tensors = read_safetensors(golden("resize.safetensors")).tensors;
  const auto view = [](const torch::Tensor& pixels_HWC) {
    return pixels_HWC.permute({2, 0, 1}).unsqueeze(0).to(torch::kFloat32) / 255;
  };
  const auto image = view(tensors.at("in.decoded"));
  const auto crop = image.slice(2, 21, 161).slice(3, 33, 223), small = image.slice(2, 21, 71).slice(3, 33, 73);
  CHECK(difference(resize_images(crop, 112, 112), view(tensors.at("out.crop_bicubic"))) < 1.1 / 255);
  CHECK(difference(resize_images(small, 96, 96), view(tensors.at("out.enlarge_bicubic"))) < 1.1 / 255);
}

TEST_CASE("regrid: resized images stay in [0, 1], and those of the wanted size are themselves") {
  auto edge = torch::zeros({1, 3, 8, 8});
  edge.slice(3, 4) = 1;
  const auto large = resize_images(edge, 32, 20);
  CHECK(large.sizes() == torch::IntArrayRef({1, 3, 32, 20}));
  CHECK(large.min().item<float>() >= 0);
  CHECK(large.max().item<float>() <= 1);
  CHECK(torch::equal(resize_images(edge, 8, 8), edge));
  CHECK((resize_images(edge.to(torch::kFloat64), 8, 8).scalar_type() == torch::kFloat32));
}

TEST_CASE("regrid: what is no batch of images of floats is refused") {
  CHECK_THROWS_WITH_AS(resize_images(torch::zeros({1, 3, 8, 8}, torch::kUInt8), 8, 8),
                       doctest::Contains("got Byte [1, 3, 8, 8]; scale bytes by 1/255"), Error);
  CHECK_THROWS_AS(resize_images(torch::zeros({3, 8, 8}), 8, 8), Error);
  CHECK_THROWS_AS(resize_images(torch::zeros({1, 1, 8, 8}), 8, 8), Error);
}

TEST_CASE("regrid: a teacher sees the student's proportions at its own size") {
  CHECK(teacher_grid(0, 16, {14, 14}, {14, 14}) == Grid{14, 14});
  CHECK(teacher_grid(0, 16, {14, 14}, {4, 4}) == Grid{14, 14});
  CHECK(teacher_grid(0, 16, {14, 14}, {4, 8}) == Grid{14, 28});
  CHECK(teacher_grid(0, 16, {14, 14}, {6, 4}) == Grid{21, 14});
  CHECK(teacher_grid(224, 32, {7, 7}, {3, 4}) == Grid{7, 9});
  CHECK_THROWS_WITH_AS(teacher_grid(225, 16, {14, 14}, {14, 14}),
                       doctest::Contains("a multiple of its patch of 16 pixels, got 225"), Error);
  CHECK_THROWS_AS(teacher_grid(-16, 16, {14, 14}, {14, 14}), Error);
}

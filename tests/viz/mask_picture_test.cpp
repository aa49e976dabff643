#include "viz/mask_picture.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "viz/tiles.h"

namespace beit {
namespace {

std::vector<int64_t> pixel(const torch::Tensor& pixels_HWC, int64_t row, int64_t column) {
  const auto values = pixels_HWC[row][column].to(torch::kInt64);
  return {values[0].item<int64_t>(), values[1].item<int64_t>(), values[2].item<int64_t>()};
}

using Colour = std::vector<int64_t>;

// Two white images of 2 x 2 patches of 4 pixels: views of 8 pixels, 4 apart; the second image 20 pixels on.
const Grid kGrid{2, 2};

TEST_CASE("mask picture: masked patches are grey, and green or red where the code was foretold rightly or not") {
  const auto mask_BN = torch::tensor({{1, 0, 0, 1}, {0, 0, 1, 0}}, torch::kBool);
  const auto picture_HWC =
      mask_picture(torch::ones({2, 3, 8, 8}), mask_BN, torch::tensor({1, 0, 1}, torch::kBool), kGrid);
  REQUIRE(picture_HWC.sizes() == torch::IntArrayRef({8, 2 * 32 + 20, 3}));
  REQUIRE(picture_HWC.dtype() == torch::kUInt8);
  const Colour white{255, 255, 255}, grey{128, 128, 128}, green{0, 158, 115}, red{214, 94, 0};
  struct Expected {
    int64_t image, row, column;
    Colour masked, answer;
  };
  for (const auto& [image, row, column, masked, answer] : {Expected{0, 0, 0, grey, green},
                                                           {0, 0, 7, white, white},
                                                           {0, 7, 0, white, white},
                                                           {0, 7, 7, grey, red},
                                                           {1, 0, 0, white, white},
                                                           {1, 7, 0, grey, green},
                                                           {1, 7, 4, white, white}}) {
    const int64_t left = image * 52 + column;
    CHECK(pixel(picture_HWC, row, left) == white);
    CHECK(pixel(picture_HWC, row, left + 12) == masked);
    CHECK(pixel(picture_HWC, row, left + 24) == answer);
  }
}

TEST_CASE("mask picture: inputs stay as they are, and those that do not fit are an Error") {
  const auto images_BCHW = torch::rand({1, 3, 8, 8});
  const auto before = images_BCHW.clone();
  const auto mask_BN = torch::tensor({{true, false, false, false}});
  const auto right_M = torch::tensor({true});
  mask_picture(images_BCHW, mask_BN, right_M, kGrid);
  CHECK(torch::equal(images_BCHW, before));
  CHECK_THROWS_WITH_AS(mask_picture(images_BCHW, mask_BN, torch::tensor({true, true}), kGrid),
                       doctest::Contains("each of 1 masked patches, got 2"), Error);
  CHECK_THROWS_AS(mask_picture(images_BCHW, mask_BN, right_M, {2, 3}), Error);
  CHECK_THROWS_AS(mask_picture(images_BCHW[0], mask_BN, right_M, kGrid), Error);
  CHECK_THROWS_AS(mask_picture(images_BCHW, mask_BN.to(torch::kFloat32), right_M, kGrid), Error);
  CHECK_THROWS_AS(mask_picture(torch::rand({1, 3, 9, 8}), mask_BN, right_M, kGrid), Error);
}

TEST_CASE("tiles: an odd number of images leaves the last place empty, and no image is an Error") {
  const auto picture_HWC = side_by_side({torch::zeros({3, 3, 2, 2})});
  REQUIRE(picture_HWC.sizes() == torch::IntArrayRef({2 + 4 + 2, 2 + 20 + 2, 3}));
  CHECK(pixel(picture_HWC, 7, 0) == Colour{0, 0, 0});
  CHECK(pixel(picture_HWC, 7, 23) == Colour{255, 255, 255});
  CHECK(picture_HWC.eq(0).sum().item<int64_t>() == 3 * 3 * 2 * 2);
  CHECK_THROWS_AS(side_by_side({}), Error);
  CHECK_THROWS_AS(side_by_side({torch::zeros({0, 3, 2, 2})}), Error);
  CHECK_THROWS_AS(side_by_side({torch::zeros({1, 3, 2, 2}), torch::zeros({1, 3, 2, 3})}), Error);
}

}  // namespace
}  // namespace beit

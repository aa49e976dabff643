#include "viz/surroundings.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/error.h"

namespace beit {
namespace {

constexpr Grid kGrid{3, 5};

/// Each patch 2 by 4 pixels in a grey of its own: its number.
torch::Tensor numbered() {
  return torch::arange(15)
      .view({3, 5, 1})
      .repeat_interleave(2, 0)
      .repeat_interleave(4, 1)
      .expand({6, 20, 3})
      .to(torch::kUInt8)
      .contiguous();
}

TEST_CASE("surroundings: every patch of a grid is shown amid equally many, at its place") {
  const auto pixels_HW3 = numbered();
  for (int64_t patch = 0; patch < kGrid.patches(); ++patch) {
    for (const int64_t context : {0, 1, 2}) {
      CAPTURE(patch);
      CAPTURE(context);
      const auto around = surroundings_of(patch, kGrid, context);
      CHECK(around.shown == Grid{std::min<int64_t>(3, 2 * context + 1), 2 * context + 1});
      const auto part_HW3 = cut_surroundings(pixels_HW3, kGrid, around);
      REQUIRE(part_HW3.sizes() == torch::IntArrayRef({around.shown.rows * 2, around.shown.columns * 4, 3}));
      const auto own_HW3 =
          part_HW3.slice(0, around.row * 2, around.row * 2 + 2).slice(1, around.column * 4, around.column * 4 + 4);
      CHECK(own_HW3.eq(patch).all().item<bool>());
    }
  }
  const auto middle = surroundings_of(7, kGrid, 1);
  CHECK(middle.row == 1);
  CHECK(middle.column == 1);
  CHECK(middle.first_column == 1);
}

TEST_CASE("surroundings: patches that are not there and images that the grid does not divide are refused") {
  CHECK_THROWS_AS(surroundings_of(15, kGrid, 1), Error);
  CHECK_THROWS_AS(surroundings_of(-1, kGrid, 1), Error);
  CHECK_THROWS_WITH_AS(cut_surroundings(torch::zeros({7, 20, 3}, torch::kUInt8), kGrid, surroundings_of(0, kGrid, 1)),
                       doctest::Contains("3 x 5 patches"), Error);
}

TEST_CASE("surroundings: the patch is outlined in the colour that was asked for") {
  const auto around = surroundings_of(6, kGrid, 1);
  const auto picture_HW3 = outlined_patch(cut_surroundings(numbered(), kGrid, around), around, 60, {10, 200, 250});
  CHECK(picture_HW3.sizes() == torch::IntArrayRef({60, 60, 3}));
  CHECK(torch::equal(picture_HW3[20][20], torch::tensor({10, 200, 250}, torch::kUInt8)));
  CHECK(torch::equal(picture_HW3[39][39], torch::tensor({10, 200, 250}, torch::kUInt8)));
  CHECK(picture_HW3[30][30][0].item<int64_t>() == 6);
}

}  // namespace
}  // namespace beit

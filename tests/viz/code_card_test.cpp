#include "viz/code_card.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "viz/drawing.h"

namespace beit {
namespace {

constexpr Grid kGrid{2, 2};

/// Code 0 three times in the first patch and once in the last; code 1 elsewhere.
CodeAtlas small_atlas() {
  AtlasBuilder builder(3, kGrid, 2);
  builder.add(torch::tensor({0, 1, 2}), torch::tensor({{0, 1, 1, 1}, {0, 1, 1, 0}, {0, 1, 1, 1}}),
              torch::zeros({3, 4}));
  return builder.finish();
}

torch::Tensor example(int64_t grey) { return torch::full({20, 20, 3}, grey, torch::kUInt8); }

int64_t count(const torch::Tensor& picture_HW3, const Ink& colour) {
  const auto ink = torch::tensor({colour[0], colour[1], colour[2]}, torch::kUInt8);
  return picture_HW3.eq(ink).all(2).sum().item<int64_t>();
}

TEST_CASE("code card: holds each example, and the map is darkest where the code stands most often") {
  const auto atlas = small_atlas();
  const auto card_HW3 = code_card(atlas, 0, kGrid, {example(77), example(133)});
  CHECK(count(card_HW3, {77, 77, 77}) == 400);
  CHECK(count(card_HW3, {133, 133, 133}) == 400);
  const int64_t cell = 84 * 84;                     // pixels of a patch in the map
  CHECK(count(card_HW3, {0, 60, 130}) == cell);     // all of the most frequent place
  CHECK(count(card_HW3, {170, 190, 213}) == cell);  // a third of it
  CHECK(count(code_card(atlas, 2, kGrid, {}), {0, 60, 130}) == 0);
}

TEST_CASE("code card: the numbers are the atlas' own") {
  const auto atlas = small_atlas();
  const auto card_HW3 = code_card(atlas, 0, kGrid, {});
  auto expected_HW3 = torch::full_like(card_HW3, 255);
  draw_text(expected_HW3, "CODE 0", 8, 8, 3);
  draw_text(expected_HW3, "USES 4 (33.33%)", 8 + 21, 8, 2);
  draw_text(expected_HW3, "IMAGES 3 OF 3", 8 + 21 + 16, 8, 2);
  const int64_t text_end = 8 + 21 + 16 + 16;
  CHECK(torch::equal(card_HW3.slice(0, 0, text_end), expected_HW3.slice(0, 0, text_end)));
}

TEST_CASE("code overview: a tile for each code, grey where there is no example") {
  const auto overview_HW3 = code_overview({5, 70, 8}, {example(77), {}, example(133)}, 20);
  CHECK(count(overview_HW3, {77, 77, 77}) == 400);
  CHECK(count(overview_HW3, {133, 133, 133}) == 400);
  CHECK(count(overview_HW3, {225, 225, 225}) == 400);
  CHECK(count(overview_HW3, kNumberInk) > 0);
}

TEST_CASE("code card: a code or grid that the atlas has not, and an overview of nothing, are refused") {
  CHECK_THROWS_WITH_AS(code_card(small_atlas(), 3, kGrid, {}), doctest::Contains("one of 3 codes"), Error);
  CHECK_THROWS_WITH_AS(code_card(small_atlas(), 0, {3, 3}, {}), doctest::Contains("grid of 4 patches"), Error);
  CHECK_THROWS_AS(code_overview({}, {}, 20), Error);
}

}  // namespace
}  // namespace beit

#include "viz/shared_codes.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace beit {
namespace {

using Patches = std::vector<int64_t>;

constexpr Grid kGrid{2, 3};

TEST_CASE("shared codes: those that both images hold, most patches in both first, and the Jaccard index") {
  const auto shared = shared_codes(torch::tensor({4, 7, 7, 1, 1, 2}), torch::tensor({1, 7, 7, 9, 4, 4}));
  CHECK(shared.held == std::array<int64_t, 2>{4, 4});
  REQUIRE(shared.codes.size() == 3);
  CHECK(shared.codes[0].code == 7);  // two patches in each
  CHECK(shared.codes[0].patches[0] == Patches{1, 2});
  CHECK(shared.codes[0].patches[1] == Patches{1, 2});
  CHECK(shared.codes[1].code == 1);  // one and two: equals in the order of their numbers
  CHECK(shared.codes[1].patches[0] == Patches{3, 4});
  CHECK(shared.codes[1].patches[1] == Patches{0});
  CHECK(shared.codes[2].code == 4);
  CHECK(shared.jaccard() == doctest::Approx(3.0 / 5.0));
}

TEST_CASE("shared codes: none and all") {
  const auto first_N = torch::tensor({0, 0, 1, 2, 3, 3});
  CHECK(shared_codes(first_N, first_N + 4).codes.empty());
  CHECK(shared_codes(first_N, first_N + 4).jaccard() == 0);
  CHECK(shared_codes(first_N, first_N.flip(0)).jaccard() == 1);
  CHECK_THROWS_AS(shared_codes(first_N, first_N.view({2, 3})), Error);
}

/// Patches of 8 by 8 pixels.
torch::Tensor image(int64_t grey) { return torch::full({16, 24, 3}, grey, torch::kUInt8); }

int64_t count(const torch::Tensor& picture_HW3, const torch::Tensor& colour) {
  return picture_HW3.eq(colour).all(2).sum().item<int64_t>();
}

TEST_CASE("shared codes: a shared patch has one colour in both images and in the legend, all others are pale") {
  const auto shared = shared_codes(torch::tensor({4, 0, 0, 0, 0, 0}), torch::tensor({1, 1, 1, 1, 4, 1}));
  const auto picture_HW3 = shared_codes_picture({image(105), image(101)}, shared, kGrid);
  // Enlarged four times; pictures begin 4 pixels from the edge and stand 20 apart.
  const auto first_HW3 = picture_HW3.slice(0, 4, 4 + 64).slice(1, 4, 4 + 96);
  const auto second_HW3 = picture_HW3.slice(0, 4, 4 + 64).slice(1, 120, 120 + 96);
  const auto colour = first_HW3[31][16];            // the lower edge of patch 0
  CHECK(torch::equal(second_HW3[63][48], colour));  // that of patch 4
  CHECK(first_HW3[20][16][0].item<int64_t>() == 105);
  CHECK(second_HW3[52][48][0].item<int64_t>() == 101);
  CHECK(first_HW3[52][48][0].item<int64_t>() == 210);             // 255 - 0.3 * 150
  CHECK(second_HW3[20][16][0].item<int64_t>() == 209);            // 255 - 0.3 * 154, rounded
  CHECK(count(picture_HW3.slice(0, 4 + 64), colour) >= 32 * 32);  // the legend's square
}

TEST_CASE("shared codes: without one there are two pale images and no legend, and --rows bounds the legend") {
  const auto none = shared_codes(torch::zeros({6}, torch::kInt64), torch::ones({6}, torch::kInt64));
  CHECK(shared_codes_picture({image(100), image(100)}, none, kGrid).size(0) == 64 + 8);
  const auto codes_N = torch::arange(6);
  const auto all = shared_codes(codes_N, codes_N);
  const auto height = [&](int64_t rows) {
    return shared_codes_picture({image(9), image(9)}, all, kGrid, {.rows = rows}).size(0);
  };
  CHECK(height(0) == 64 + 8);
  CHECK(height(4) - height(3) == 68);
  CHECK(height(9) == height(6));
  CHECK_THROWS_AS(shared_codes_picture({image(9), image(9)}, all, {3, 5}), Error);
}

}  // namespace
}  // namespace beit

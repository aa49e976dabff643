#include "viz/confusion_picture.h"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "base/error.h"

namespace beit {
namespace {

using Colour = std::vector<int64_t>;

std::vector<int64_t> numbers_to(int64_t classes) {
  std::vector<int64_t> numbers(static_cast<size_t>(classes));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

/// In the corner of a square, where no digit stands.
Colour corner(const torch::Tensor& picture_HWC, int64_t top, int64_t left, int64_t cell, int64_t row, int64_t column) {
  const auto values = picture_HWC[top + row * cell + 1][left + column * cell + 1].to(torch::kInt64);
  return {values[0].item<int64_t>(), values[1].item<int64_t>(), values[2].item<int64_t>()};
}

TEST_CASE("confusion picture: green on the diagonal, vermilion elsewhere, by the root of a row's share; grey rows") {
  const auto counts_KK = torch::tensor({{4, 0, 0}, {1, 3, 0}, {0, 0, 0}}, torch::kInt64);
  const auto picture_HWC = confusion_picture(counts_KK, numbers_to(3));
  REQUIRE(picture_HWC.dtype() == torch::kUInt8);
  // Squares of 64 pixels below digits of 15 pixels and right of one digit of 9 pixels, in a frame.
  const int64_t top = 4 + 15 + 4 + 1, left = 4 + 9 + 4 + 1;
  const auto at = [&](int64_t row, int64_t column) { return corner(picture_HWC, top, left, 64, row, column); };
  CHECK(at(0, 0) == Colour{0, 158, 115});
  CHECK(at(0, 1) == Colour{255, 255, 255});
  CHECK(at(1, 0) == Colour{234, 174, 128});  // half of the way from white, as a quarter of the row
  CHECK(at(1, 1)[0] == 34);                  // 255 (1 - sqrt(3/4))
  for (int64_t column = 0; column < 3; ++column) CHECK(at(2, column) == Colour{225, 225, 225});
}

TEST_CASE("confusion picture: 2 to 1000 classes give squares of at least two pixels and numbers at the sides") {
  for (const int64_t classes : {1, 2, 10, 100, 200, 1000}) {
    CAPTURE(classes);
    const auto picture_HWC = confusion_picture(torch::eye(classes, torch::kInt64), numbers_to(classes));
    CHECK(picture_HWC.size(0) >= 2 * classes);
    CHECK(picture_HWC.size(0) < 2100);
    CHECK(picture_HWC.size(1) < 2150);
    CHECK(picture_HWC.slice(1, 0, 10).eq(60).any().item<bool>());
    CHECK(picture_HWC.slice(0, 0, 10).eq(60).any().item<bool>());
    // The diagonal is all there.
    CHECK(picture_HWC.select(2, 2).eq(115).sum().item<int64_t>() >= 3 * classes);
  }
}

TEST_CASE("confusion picture: other shapes are an Error, counts stay as they are") {
  const auto counts_KK = torch::eye(2, torch::kInt64);
  confusion_picture(counts_KK, numbers_to(2));
  CHECK(torch::equal(counts_KK, torch::eye(2, torch::kInt64)));
  CHECK_THROWS_WITH_AS(confusion_picture(counts_KK, numbers_to(3)), doctest::Contains("3 numbers"), Error);
  CHECK_THROWS_AS(confusion_picture(torch::zeros({2, 3}), numbers_to(2)), Error);
  CHECK_THROWS_AS(confusion_picture(torch::zeros({0, 0}), numbers_to(0)), Error);
  CHECK_THROWS_AS(confusion_picture(torch::zeros({1}).expand({5000, 5000}), numbers_to(5000)), Error);
}

}  // namespace
}  // namespace beit

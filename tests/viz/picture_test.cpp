#include "viz/picture.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace beit {
namespace {

TEST_CASE("picture: codes in the most images come first where no class is known") {
  // Code 2 in all four images, 1 in three, 0 in one, though 0 is the most frequent.
  const auto codes_IN = torch::tensor({{0, 0, 0, 0, 2}, {1, 2, 2, 1, 2}, {1, 2, 2, 2, 2}, {2, 1, 1, 1, 1}});
  const auto rows = telling_codes(codes_IN, torch::full({4}, -1, torch::kInt64), 5, {.rows = 2, .columns = 2});
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].code == 2);
  CHECK(rows[0].images == 4);
  CHECK(rows[1].code == 1);
  CHECK(rows[1].images == 3);
}

TEST_CASE("picture: with classes, each class's own code comes before one that stands everywhere") {
  // Codes 0 and 1 belong to a class each, 2 is everywhere, 3 is in one image only.
  const auto codes_IN = torch::tensor({{0, 2}, {0, 2}, {0, 2}, {1, 2}, {1, 2}, {3, 2}});
  for (const int64_t other : {int64_t{1}, int64_t{1} << 60}) {  // the number of a class is no measure of how many
    const auto labels_I = torch::tensor({0, 0, 0, 1, 1, 1}, torch::kInt64) * other;
    const auto rows = telling_codes(codes_IN, labels_I, 4, {.rows = 3, .columns = 2});
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].code == 0);
    CHECK(rows[1].code == 1);
    CHECK(rows[2].code == 2);
  }
}

TEST_CASE("picture: examples hold the code, stand in different images and reach over the whole data set") {
  torch::manual_seed(3);
  const auto codes_IN = torch::randint(6, {100, 9}, torch::kInt64);
  for (const CodeExamples& row :
       telling_codes(codes_IN, torch::arange(100).remainder(4), 6, {.rows = 6, .columns = 8})) {
    REQUIRE(row.examples.size() == 8);
    for (size_t i = 0; i < row.examples.size(); ++i) {
      CHECK(codes_IN[row.examples[i].image][row.examples[i].patch].item<int64_t>() == row.code);
      if (i > 0) CHECK(row.examples[i].image > row.examples[i - 1].image);
    }
    CHECK(row.examples.front().image < 15);
    CHECK(row.examples.back().image > 75);
  }
}

TEST_CASE("picture: named codes have their examples in the order in which they were named, also where there are none") {
  const auto codes_IN = torch::tensor({{0, 2, 2}, {2, 0, 1}, {1, 2, 1}, {2, 2, 2}});
  const auto rows = spread_examples(codes_IN, {2, 5, 1}, 6, 2);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].code == 2);
  CHECK(rows[0].images == 4);
  REQUIRE(rows[0].examples.size() == 2);
  CHECK(rows[0].examples[0].image == 0);
  CHECK(rows[0].examples[0].patch == 2);
  CHECK(rows[0].examples[1].image == 2);
  CHECK(rows[1].code == 5);
  CHECK(rows[1].images == 0);
  CHECK(rows[1].examples.empty());
  CHECK(rows[2].examples.size() == 2);
  CHECK_THROWS_WITH_AS(spread_examples(codes_IN, {1, 1}, 6, 2), doctest::Contains("different codes"), Error);
}

TEST_CASE("picture: fewer codes and images than asked for give a smaller picture, not an error") {
  const auto rows =
      telling_codes(torch::tensor({{4, 4}, {4, 0}}), torch::tensor({0, 1}), 8, {.rows = 16, .columns = 16});
  REQUIRE(rows.size() == 2);
  const auto picture = code_mosaic(rows, {1, 2}, [](int64_t) { return torch::zeros({4, 8, 3}, torch::kUInt8); });
  CHECK(picture.dtype() == torch::kUInt8);
  CHECK(picture.size(2) == 3);
}

TEST_CASE("picture: the outlined part of a cell is the patch, also in the image's corner") {
  // Every patch of the image has a grey of its own.
  const auto image = torch::arange(16)
                         .view({4, 4})
                         .mul(16)
                         .repeat_interleave(8, 0)
                         .repeat_interleave(8, 1)
                         .unsqueeze(2)
                         .expand({32, 32, 3})
                         .to(torch::kUInt8);
  for (const int64_t patch : {0, 5, 11, 15}) {
    const auto picture =
        code_mosaic({{7, 1, {{0, patch}}}}, {4, 4}, [&](int64_t) { return image; }, {.cell = 60, .context = 1});
    // Yellow marks the outline; its middle is the patch.
    const auto marked = picture.select(2, 2).eq(0).logical_and(picture.select(2, 0).eq(255)).nonzero();
    REQUIRE(marked.size(0) > 0);
    const auto middle = marked.to(torch::kFloat32).mean(0).round().to(torch::kInt64);
    CHECK(picture[middle[0].item<int64_t>()][middle[1].item<int64_t>()][0].item<int64_t>() == 16 * patch);
  }
}

TEST_CASE("picture: images that the grid does not divide are refused") {
  const auto odd = [](int64_t) { return torch::zeros({30, 32, 3}, torch::kUInt8); };
  CHECK_THROWS_WITH_AS(code_mosaic({{0, 1, {{0, 0}}}}, {4, 4}, odd), doctest::Contains("4 x 4 patches"), Error);
  CHECK_THROWS_AS(telling_codes(torch::tensor({{9}}), torch::tensor({0}), 8), Error);
}

}  // namespace
}  // namespace beit

#include "viz/drawing.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace beit {
namespace {

torch::Tensor paper(int64_t height, int64_t width) { return torch::full({height, width, 3}, 255, torch::kUInt8); }

torch::Tensor inked(const torch::Tensor& pixels_HW3) { return pixels_HW3.select(2, 0).ne(255).to(torch::kInt64); }

TEST_CASE("drawing: text is drawn in dots, an unknown letter as a blank, and never outside of the picture") {
  const auto picture = paper(5, 15);
  draw_text(picture, "H~1%", 0, 0, 1);
  CHECK(torch::equal(inked(picture), torch::tensor({{1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1},
                                                    {1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1},
                                                    {1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0},
                                                    {1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0},
                                                    {1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1}})));
  draw_text(picture, "EDGE", 3, 4, 2);  // runs over two edges
  CHECK(text_width("H~1%", 1) == 15);
  CHECK(text_width("17", 3) == 21);
  CHECK(text_width("", 3) == 0);
}

TEST_CASE("drawing: numbers are drawn in dots and never outside of the picture") {
  const auto picture = paper(5, 7);
  draw_number(picture, 17, 0, 0, 1);
  CHECK(torch::equal(inked(picture), torch::tensor({{0, 1, 0, 0, 1, 1, 1},
                                                    {1, 1, 0, 0, 0, 0, 1},
                                                    {0, 1, 0, 0, 0, 0, 1},
                                                    {0, 1, 0, 0, 0, 0, 1},
                                                    {1, 1, 1, 0, 0, 0, 1}})));
  draw_number(picture, 8888, 3, 4, 2);  // runs over two edges
}

TEST_CASE("drawing: all capital letters and digits look different") {
  std::vector<torch::Tensor> seen;
  for (const char letter : std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%.,-()")) {
    CAPTURE(letter);
    const auto picture = paper(5, 3);
    draw_text(picture, std::string(1, letter), 0, 0, 1);
    CHECK(inked(picture).sum().item<int64_t>() > 0);
    for (const auto& other : seen) CHECK(!torch::equal(picture, other));
    seen.push_back(picture);
  }
}

TEST_CASE("drawing: an outline stays within its rectangle, and both are cut at the picture's edge") {
  const auto picture = paper(6, 6);
  outline_rectangle(picture, 1, 1, 4, 4, 1, {0, 0, 0});
  CHECK(inked(picture).sum().item<int64_t>() == 12);
  CHECK(inked(picture).slice(0, 2, 4).slice(1, 2, 4).sum().item<int64_t>() == 0);
  fill_rectangle(picture, -2, -2, 4, 4, {9, 8, 7});
  CHECK(torch::equal(picture[1][1], torch::tensor({9, 8, 7}, torch::kUInt8)));
  fill_rectangle(picture, 5, 5, 9, 9, {9, 8, 7});
  CHECK(torch::equal(picture[5][5], torch::tensor({9, 8, 7}, torch::kUInt8)));
}

}  // namespace
}  // namespace beit

#include "viz/label_picture.h"

#include <doctest/doctest.h>

#include <set>

#include "base/error.h"

namespace beit {
namespace {

TEST_CASE("label picture: the palette is Pascal VOC's, of 256 different colours") {
  const LabelPalette& palette = label_palette();
  CHECK(std::set(palette.begin(), palette.end()).size() == 256);
  using Colour = std::array<uint8_t, 3>;
  CHECK(palette[0] == Colour{0, 0, 0});
  CHECK(palette[1] == Colour{128, 0, 0});
  CHECK(palette[7] == Colour{128, 128, 128});
  CHECK(palette[15] == Colour{192, 128, 128});
  CHECK(palette[20] == Colour{0, 64, 128});
  CHECK(palette[255] == Colour{224, 224, 192});
}

TEST_CASE("label picture: an overlay mixes image and colour by halves, and draws a line where classes meet") {
  auto labels_HW = torch::ones({4, 6}, torch::kUInt8);
  labels_HW.narrow(1, 3, 3).fill_(2);
  const auto overlay_HWC = label_overlay(torch::full({4, 6, 3}, 100, torch::kUInt8), labels_HW);
  REQUIRE(overlay_HWC.sizes() == torch::IntArrayRef({4, 6, 3}));
  REQUIRE(overlay_HWC.dtype() == torch::kUInt8);
  CHECK(torch::equal(overlay_HWC.narrow(1, 2, 1), torch::full({4, 1, 3}, 255, torch::kUInt8)));
  CHECK(torch::equal(overlay_HWC[0][0], torch::tensor({114, 50, 50}, torch::kUInt8)));
  CHECK(torch::equal(overlay_HWC[3][5], torch::tensor({50, 114, 50}, torch::kUInt8)));
  const auto plain_HWC = label_overlay(torch::zeros({1, 1, 3}, torch::kUInt8), torch::ones({1, 1}, torch::kUInt8));
  CHECK(torch::equal(plain_HWC[0][0], torch::tensor({64, 0, 0}, torch::kUInt8)));
  CHECK_THROWS_AS(label_overlay(torch::zeros({2, 2, 3}, torch::kUInt8), labels_HW), Error);
  CHECK_THROWS_AS(label_overlay(torch::zeros({4, 6, 3}), labels_HW), Error);
  CHECK_THROWS_AS(label_overlay(torch::zeros({4, 6, 3}, torch::kUInt8), labels_HW.to(torch::kInt64)), Error);
}

TEST_CASE("label picture: image, labels and what was foretold stand side by side") {
  const auto labels_BHW = torch::ones({1, 8, 8}, torch::kUInt8), predicted_BHW = 2 * labels_BHW;
  const auto picture_HWC = label_picture(torch::full({1, 3, 8, 8}, 0.2), labels_BHW, predicted_BHW);
  REQUIRE(picture_HWC.sizes() == torch::IntArrayRef({8, 3 * 8 + 2 * 4, 3}));
  CHECK(torch::equal(picture_HWC[0][0], torch::tensor({51, 51, 51}, torch::kUInt8)));
  CHECK(torch::equal(picture_HWC[7][12], torch::tensor({128, 0, 0}, torch::kUInt8)));
  CHECK(torch::equal(picture_HWC[7][31], torch::tensor({0, 128, 0}, torch::kUInt8)));
  CHECK_THROWS_AS(label_picture(torch::zeros({1, 3, 8, 8}), labels_BHW[0], predicted_BHW), Error);
}

}  // namespace
}  // namespace beit

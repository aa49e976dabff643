#include "data/jpeg_encoder.h"

#include <doctest/doctest.h>

#include "data/image.h"
#include "tests/data/samples.h"

namespace beit {
namespace {

TEST_CASE("jpeg encoder: the decoder gives nearly the same pixels back, nearer at a higher quality") {
  auto pixels_HWC = torch::empty({40, 52, 3}, torch::kUInt8);
  pixels_HWC.copy_(torch::arange(40).view({40, 1, 1}) * 3 + torch::arange(52).view({1, 52, 1}) + torch::arange(3) * 20);
  const auto error = [&](int quality) {
    const auto back_HWC = decode_image(encode_jpeg(pixels_HWC, quality), "a.jpg");
    REQUIRE(back_HWC.sizes() == pixels_HWC.sizes());
    return (back_HWC.to(torch::kFloat32) - pixels_HWC.to(torch::kFloat32)).abs().mean().item<double>();
  };
  CHECK(error(95) < 1.5);
  CHECK(error(10) > error(95));
  CHECK(encode_jpeg(pixels_HWC, 10).size() < encode_jpeg(pixels_HWC, 95).size());
}

TEST_CASE("jpeg encoder: what is no picture is refused") {
  CHECK(contains(error_of([] { encode_jpeg(torch::zeros({4, 4}, torch::kUInt8)); }), "jpeg"));
  CHECK(contains(error_of([] { encode_jpeg(torch::zeros({4, 4, 3}, torch::kUInt8), 0); }), "a quality from 1 to 100"));
  CHECK(contains(error_of([] { encode_jpeg(torch::zeros({1, 65501, 3}, torch::kUInt8)); }), "sides of at most 65500"));
}

}  // namespace
}  // namespace beit

#include "data/resize.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

const std::vector<std::pair<std::string, Filter>> kFilters{
    {"bicubic", Filter::kBicubic}, {"bilinear", Filter::kBilinear}, {"lanczos", Filter::kLanczos}};

}  // namespace

TEST_CASE("resize: crops grow and shrink as in Pillow, at every pixel") {
  const auto tensors = read_safetensors(golden("resize.safetensors")).tensors;
  const auto pixels_HWC = tensors.at("in.decoded");
  for (const auto& [name, filter] : kFilters) {
    CAPTURE(name);
    CHECK(torch::equal(resize(pixels_HWC, {21, 33, 140, 190}, {112, 112}, filter), tensors.at("out.crop_" + name)));
    CHECK(torch::equal(resize(pixels_HWC, {21, 33, 50, 40}, {96, 96}, filter), tensors.at("out.enlarge_" + name)));
  }
}

TEST_CASE("resize: the evaluation view is the published one, at every pixel") {
  auto tensors = read_safetensors(golden("resize.safetensors")).tensors;
  CHECK(torch::equal(evaluation_pixels(tensors.at("in.decoded"), {224, 224}), tensors.at("out.eval224_bicubic")));
  tensors = read_safetensors(golden("resize_half.safetensors")).tensors;
  CHECK(torch::equal(evaluation_pixels(tensors.at("in.decoded"), {224, 224}), tensors.at("out.eval224_bicubic")));
}

TEST_CASE("resize: a view of its own size is the picture itself") {
  const auto pixels_HWC = picture(13, 17);
  for (const auto filter : {Filter::kBox, Filter::kBilinear, Filter::kBicubic, Filter::kLanczos}) {
    CHECK(torch::equal(resize(pixels_HWC, {0, 0, 13, 17}, {13, 17}, filter), pixels_HWC));
  }
  CHECK(torch::equal(evaluation_pixels(picture(384, 384), {384, 384}), picture(384, 384)));
  CHECK(torch::equal(evaluation_pixels(picture(32, 40), {32, 40}), picture(32, 40)));
}

TEST_CASE("resize: the box filter averages whole blocks") {
  const auto pixels_HWC = picture(8, 12);
  const auto means_HWC =
      pixels_HWC.to(torch::kInt64).view({4, 2, 12, 3}).sum(1).view({4, 6, 2, 3}).sum(2).to(torch::kFloat64) / 4;
  const auto out_HWC = resize(pixels_HWC, {0, 0, 8, 12}, {4, 6}, Filter::kBox);
  CHECK((out_HWC - means_HWC).abs().max().item<double>() <= 1.0);
}

TEST_CASE("resize: evenly coloured pictures keep their colour, whatever their shape") {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {1, 3000}, {3000, 1}, {2, 5}, {700, 40}}) {
    const auto pixels_HWC = torch::full({height, width, 3}, 201, torch::kUInt8);
    for (const auto filter : {Filter::kBox, Filter::kBilinear, Filter::kBicubic, Filter::kLanczos}) {
      CHECK(resize(pixels_HWC, {0, 0, height, width}, {9, 7}, filter).eq(201).all().item<bool>());
    }
    const auto view_HWC = evaluation_pixels(pixels_HWC, {32, 48});
    CHECK(view_HWC.sizes() == torch::IntArrayRef({32, 48, 3}));
    CHECK(view_HWC.eq(201).all().item<bool>());
  }
}

TEST_CASE("resize: a box outside of the picture, an empty size and other tensors are refused") {
  const auto pixels_HWC = picture(10, 10);
  CHECK(contains(error_of([&] {
                   resize(pixels_HWC, {0, 5, 10, 6}, {4, 4}, Filter::kBox);
                 }),
                 "resize: expected a box within 10 x 10"));
  CHECK_THROWS_AS(resize(pixels_HWC, {-1, 0, 4, 4}, {4, 4}, Filter::kBox), Error);
  CHECK_THROWS_AS(resize(pixels_HWC, {0, 0, 0, 4}, {4, 4}, Filter::kBox), Error);
  CHECK_THROWS_AS(resize(pixels_HWC, {INT64_MAX, 0, INT64_MAX, 4}, {4, 4}, Filter::kBox), Error);
  CHECK_THROWS_AS(resize(pixels_HWC, {0, 0, 4, 4}, {0, 4}, Filter::kBox), Error);
  CHECK_THROWS_AS(evaluation_pixels(pixels_HWC.to(torch::kFloat32), {4, 4}), Error);
  CHECK_THROWS_AS(evaluation_pixels(pixels_HWC.transpose(0, 1), {4, 4}), Error);
}

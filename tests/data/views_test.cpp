#include "data/views.h"

#include <doctest/doctest.h>

#include "data/image.h"
#include "tests/data/samples.h"

using namespace beit;

namespace {

Random stream(uint64_t index) { return {1, 2, index, Purpose::kAugment}; }

}  // namespace

TEST_CASE("views: a tokenizer's view without crop is the evaluation view or its mirror image") {
  const auto pixels_HWC = picture(40, 60);
  const auto plain_CHW = to_float(evaluation_view(pixels_HWC, {32, 24}));
  int mirrored = 0;
  for (uint64_t index = 0; index < 200; ++index) {
    auto random = stream(index);
    const auto view = tokenizer_view(pixels_HWC, {.size = {32, 24}, .min_crop = 1.0}, random);
    REQUIRE(torch::equal(view.image_CHW, view.mirrored ? plain_CHW.flip(2) : plain_CHW));
    mirrored += view.mirrored ? 1 : 0;
  }
  CHECK((mirrored > 70 && mirrored < 130));
}

TEST_CASE("views: a tokenizer's view is a function of pixels and stream, in [0, 1]") {
  const auto pixels_HWC = picture(40, 60);
  auto random = stream(1), same = stream(1), other = stream(2);
  const auto a = tokenizer_view(pixels_HWC, {.size = {16, 16}}, random);
  const auto b = tokenizer_view(pixels_HWC, {.size = {16, 16}}, same);
  const auto c = tokenizer_view(pixels_HWC, {.size = {16, 16}}, other);
  CHECK(a.image_CHW.sizes() == torch::IntArrayRef({3, 16, 16}));
  CHECK(torch::equal(a.image_CHW, b.image_CHW));
  CHECK(!torch::equal(a.image_CHW, c.image_CHW));
  CHECK((a.image_CHW.min().item<float>() >= 0.0F && a.image_CHW.max().item<float>() <= 1.0F));
}

TEST_CASE("views: the pre-training pair shows the same crop, and leaves the picture as it was") {
  const auto pixels_HWC = picture(40, 60);
  const auto before_HWC = pixels_HWC.clone();
  auto random = stream(4), same = stream(4);
  const auto pair = pretraining_views(pixels_HWC, {.student_size = {16, 16}, .tokenizer_size = {16, 16}}, random);
  CHECK(torch::equal(pixels_HWC, before_HWC));
  const auto mean = torch::tensor({0.485F, 0.456F, 0.406F}).view({3, 1, 1}),
             std = torch::tensor({0.229F, 0.224F, 0.225F}).view({3, 1, 1});
  CHECK(torch::allclose(pair.student_CHW, (pair.tokenizer_CHW - mean) / std));
  const auto two_sizes = pretraining_views(pixels_HWC, {.student_size = {16, 16}, .tokenizer_size = {8, 8}}, same);
  CHECK(torch::equal(two_sizes.student_CHW, pair.student_CHW));
  CHECK(two_sizes.tokenizer_CHW.sizes() == torch::IntArrayRef({3, 8, 8}));
}

TEST_CASE("views: images of any size have all views") {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {1, 500}, {500, 1}, {3, 2}}) {
    auto random = stream(5);
    const auto pixels_HWC = picture(height, width);
    CHECK(tokenizer_view(pixels_HWC, {.size = {32, 32}}, random).image_CHW.sizes() == torch::IntArrayRef({3, 32, 32}));
    const auto pair = pretraining_views(pixels_HWC, {.student_size = {32, 32}, .tokenizer_size = {16, 16}}, random);
    CHECK(pair.tokenizer_CHW.sizes() == torch::IntArrayRef({3, 16, 16}));
  }
}

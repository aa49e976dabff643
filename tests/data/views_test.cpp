#include "data/views.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

Random stream(uint64_t index) { return {1, 2, index, Purpose::kAugment}; }

std::vector<std::filesystem::path> photographs(size_t step) {
  std::vector<std::filesystem::path> all, some;
  const auto folder = shared_file("data/imagenet-sample");
  if (!folder) return {};
  for (const auto& entry : std::filesystem::directory_iterator(*folder)) all.push_back(entry.path());
  std::ranges::sort(all);
  for (size_t i = 0; i < all.size(); i += step) some.push_back(all[i]);
  return some;
}

std::vector<uint8_t> bytes_at(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The views step by step, of all of the pixels.
PretrainingViews plain_views(const torch::Tensor& pixels_HWC, const PretrainingViewOptions& options, Random& random) {
  const auto colored_HWC = pixels_HWC.clone();
  color_jitter_(colored_HWC, options.color_jitter, random);
  const bool mirrored = random.uniform() < 0.5;
  std::optional<Box> box;
  if (options.min_crop < 1.0) {
    box = random_resized_crop({pixels_HWC.size(0), pixels_HWC.size(1)}, options.min_crop, 1.0, random);
  }
  const auto cut = [&](const ImageSize& size) {
    return box ? resize(colored_HWC, *box, size, Filter::kBicubic) : evaluation_pixels(colored_HWC, size);
  };
  return {to_float(cut(options.student_size), kImagenetScale, mirrored),
          to_float(cut(options.tokenizer_size), kUnitScale, mirrored)};
}

}  // namespace

TEST_CASE("views: a tokenizer's view without crop is the evaluation view or its mirror image") {
  PngImage png(picture(40, 60));
  const auto plain_CHW = to_float(evaluation_pixels(picture(40, 60), {32, 24}));
  int mirrored = 0;
  for (uint64_t index = 0; index < 200; ++index) {
    auto random = stream(index);
    const auto view = tokenizer_view(png.image, {.size = {32, 24}, .min_crop = 1.0}, random);
    REQUIRE(torch::equal(view.image_CHW, view.mirrored ? plain_CHW.flip(2) : plain_CHW));
    mirrored += view.mirrored ? 1 : 0;
  }
  CHECK((mirrored > 70 && mirrored < 130));
}

TEST_CASE("views: a tokenizer's view is a function of pixels and stream, in [0, 1]") {
  PngImage png(picture(40, 60));
  auto random = stream(1), same = stream(1), other = stream(2);
  const auto a = tokenizer_view(png.image, {.size = {16, 16}}, random);
  const auto b = tokenizer_view(png.image, {.size = {16, 16}}, same);
  const auto c = tokenizer_view(png.image, {.size = {16, 16}}, other);
  CHECK(a.image_CHW.sizes() == torch::IntArrayRef({3, 16, 16}));
  CHECK(torch::equal(a.image_CHW, b.image_CHW));
  CHECK(!torch::equal(a.image_CHW, c.image_CHW));
  CHECK((a.image_CHW.min().item<float>() >= 0.0F && a.image_CHW.max().item<float>() <= 1.0F));
}

TEST_CASE("views: the pre-training pair shows the same crop") {
  PngImage png(picture(40, 60));
  for (const Decoding decoding : {Decoding::kFast, Decoding::kExact}) {
    auto random = stream(4), same = stream(4);
    const auto pair = pretraining_views(
        png.image, {.student_size = {16, 16}, .tokenizer_size = {16, 16}, .decoding = decoding}, random);
    const auto mean = torch::tensor({0.485F, 0.456F, 0.406F}).view({3, 1, 1}),
               std = torch::tensor({0.229F, 0.224F, 0.225F}).view({3, 1, 1});
    CHECK(torch::allclose(pair.student_CHW, (pair.tokenizer_CHW - mean) / std));
    const auto two_sizes =
        pretraining_views(png.image, {.student_size = {16, 16}, .tokenizer_size = {8, 8}, .decoding = decoding}, same);
    CHECK(two_sizes.tokenizer_CHW.sizes() == torch::IntArrayRef({3, 8, 8}));
    if (decoding == Decoding::kExact) CHECK(torch::equal(two_sizes.student_CHW, pair.student_CHW));
  }
}

TEST_CASE("views: images of any size have all views") {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {1, 500}, {500, 1}, {3, 2}}) {
    for (const Decoding decoding : {Decoding::kFast, Decoding::kExact}) {
      auto random = stream(5);
      PngImage png(picture(height, width));
      CHECK(tokenizer_view(png.image, {.size = {32, 32}, .decoding = decoding}, random).image_CHW.sizes() ==
            torch::IntArrayRef({3, 32, 32}));
      const auto pair = pretraining_views(
          png.image, {.student_size = {32, 32}, .tokenizer_size = {16, 16}, .decoding = decoding}, random);
      CHECK(pair.tokenizer_CHW.sizes() == torch::IntArrayRef({3, 16, 16}));
    }
  }
}

TEST_CASE("views: with exact decoding they equal those of all pixels taken step by step, bit by bit") {
  std::vector<std::vector<uint8_t>> files;
  for (const auto& [name, bytes] : read_safetensors(golden("decode.safetensors")).tensors) {
    if (name.starts_with("in.")) files.push_back(bytes_of(bytes));
  }
  for (const auto& path : photographs(100)) files.push_back(bytes_at(path));
  for (const auto& bytes : files) {
    const auto pixels_HWC = decode_image(bytes, "picture");
    EncodedImage image(bytes, "picture");
    for (uint64_t index = 0; index < 12; ++index) {
      CAPTURE(index);
      const PretrainingViewOptions options{.student_size = {48, 40},
                                           .tokenizer_size = {index % 2 == 0 ? 48 : 24, index % 2 == 0 ? 40 : 24},
                                           .min_crop = index % 4 == 3 ? 1.0 : 0.2,
                                           .color_jitter = index % 3 == 2 ? 0.0 : 0.4,
                                           .decoding = Decoding::kExact};
      auto random = stream(index), same = stream(index);
      const auto views = pretraining_views(image, options, random);
      const auto expected = plain_views(pixels_HWC, options, same);
      REQUIRE(torch::equal(views.student_CHW, expected.student_CHW));
      REQUIRE(torch::equal(views.tokenizer_CHW, expected.tokenizer_CHW));
    }
  }
}

TEST_CASE("views: an evaluation view is that of all pixels, bit by bit") {
  auto paths = photographs(50);
  for (const auto& path : paths) {
    CAPTURE(path.string());
    const auto bytes = bytes_at(path);
    EncodedImage image(bytes, path.string());
    for (const ImageSize& size : {ImageSize{224, 224}, ImageSize{384, 384}, ImageSize{32, 48}, image.size()}) {
      CHECK(torch::equal(evaluation_view(image, size), to_float(evaluation_pixels(decode_image(bytes, "a"), size))));
    }
  }
  PngImage png(picture(40, 60));
  CHECK(torch::equal(evaluation_view(png.image, {32, 32}, kImagenetScale),
                     to_float(evaluation_pixels(picture(40, 60), {32, 32}), kImagenetScale)));
  CHECK_THROWS_AS(evaluation_view(png.image, {0, 4}), Error);
}

TEST_CASE("views: both ways of decoding draw the same") {
  for (uint64_t index = 0; index < 20; ++index) {
    auto fast = stream(index), exact = stream(index);
    const ImageSize image{300 + static_cast<int64_t>(index), 400};
    CHECK(draw_pretraining(image, {.decoding = Decoding::kFast}, fast) ==
          draw_pretraining(image, {.decoding = Decoding::kExact}, exact));
    CHECK(fast.bits() == exact.bits());
  }
}

TEST_CASE("views: fast and exact decoding give nearly the same pixels of photographs") {
  std::vector<float> levels;
  for (const auto& path : photographs(20)) {
    const auto bytes = bytes_at(path);
    EncodedImage image(bytes, path.string());
    auto fast = stream(levels.size()), exact = fast;
    PretrainingViewOptions options{.decoding = Decoding::kFast};
    const auto a_CHW = pretraining_views(image, options, fast).tokenizer_CHW;
    options.decoding = Decoding::kExact;
    const auto b_CHW = pretraining_views(image, options, exact).tokenizer_CHW;
    CHECK(fast.bits() == exact.bits());
    levels.push_back((a_CHW - b_CHW).abs().mean().item<float>() * 255.0F);
  }
  if (levels.empty()) return;
  // The whole sample's figures stand in docs/NUMERICS.md.
  CHECK(torch::tensor(levels).mean().item<float>() < 6.0F);
  CHECK(torch::tensor(levels).max().item<float>() < 30.0F);
}

TEST_CASE("views: without jitter, at full scale, fast decoding is exact") {
  for (const auto& path : photographs(100)) {
    const auto bytes = bytes_at(path);
    EncodedImage image(bytes, path.string());
    auto fast = stream(3), exact = stream(3);
    const ImageSize large{2000, 2000};  // no smaller scale serves it
    CHECK(torch::equal(tokenizer_view(image, {.size = large, .decoding = Decoding::kFast}, fast).image_CHW,
                       tokenizer_view(image, {.size = large, .decoding = Decoding::kExact}, exact).image_CHW));
  }
}

TEST_CASE("views: a fine-tuning view is mirrored before it is augmented, and normalised after") {
  PngImage png(picture(40, 60));
  int mirrored = 0;
  for (uint64_t index = 0; index < 30; ++index) {
    auto random = stream(index), same = stream(index), third = stream(index);
    FinetuneViewOptions options{.size = {16, 24}, .min_crop = 0.3};
    const auto plain_CHW = finetune_view(png.image, options, random);
    const TokenizerView view = tokenizer_view(png.image, {.size = {16, 24}, .min_crop = 0.3}, same);
    mirrored += view.mirrored ? 1 : 0;
    auto pixels_HWC = (view.image_CHW * 255).round().to(torch::kUInt8).permute({1, 2, 0}).contiguous();
    CHECK(torch::equal(to_float(pixels_HWC, kImagenetScale), plain_CHW));
    options.rand_augment = parse_rand_augment("rand-m9-mstd0.5-inc1");
    const auto augmented_CHW = finetune_view(png.image, options, third);
    rand_augment_(pixels_HWC, options.rand_augment, random);
    CHECK(torch::equal(to_float(pixels_HWC, kImagenetScale), augmented_CHW));
    CHECK(random.bits() == third.bits());
  }
  CHECK((mirrored > 5 && mirrored < 25));
}

TEST_CASE("views: views are written where they are wanted, and rows of another shape are refused") {
  PngImage png(picture(40, 60));
  const auto batch_BCHW = torch::zeros({2, 3, 16, 16});
  const auto view_CHW = evaluation_view(png.image, {16, 16}, kUnitScale, {.rows = {batch_BCHW[1]}});
  CHECK(view_CHW.data_ptr() == batch_BCHW[1].data_ptr());
  CHECK(torch::equal(batch_BCHW[1], evaluation_view(png.image, {16, 16})));
  CHECK(batch_BCHW[0].eq(0).all().item<bool>());
  CHECK_THROWS_AS(evaluation_view(png.image, {8, 8}, kUnitScale, {.rows = {batch_BCHW[1]}}), Error);
}

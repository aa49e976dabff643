// Shape letters: B images, N patches, K codes, C width of a code.
#include "core/pixel_decoder.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "core/weights_regrid.h"
#include "io/weights.h"

namespace beit {
namespace {

const PixelDecoderOptions kSmall{
    .vit = {.grid = {3, 4}, .patch_size = 4, .width = 16, .depth = 2, .heads = 2}, .codes = 10, .code_width = 5};

PixelDecoder small_decoder(const PixelDecoderOptions& options = kSmall) {
  torch::manual_seed(5);
  PixelDecoder decoder(options);
  decoder->set_codebook(torch::randn({options.codes, options.code_width}));
  return decoder;
}

TEST_CASE("pixel decoder: codes become images, and every weight but the codebook has a gradient") {
  PixelDecoder decoder = small_decoder();
  const auto ids_BN = torch::randint(10, {2, 12}, torch::kInt64);
  const auto images_BCHW = torch::rand({2, 3, 12, 16});
  CHECK(decoder->forward(ids_BN).sizes() == torch::IntArrayRef({2, 3, 12, 16}));
  const PixelLoss loss = decoder->loss(ids_BN, images_BCHW);
  loss.total.backward();
  for (const auto& parameter : decoder->named_parameters()) {
    CAPTURE(parameter.key());
    REQUIRE(parameter.value().grad().defined());
    CHECK(parameter.value().grad().abs().max().item<double>() > 0);
  }
  CHECK_FALSE(decoder->codebook().requires_grad());
  CHECK(state_dict(*decoder).contains("quantize.embedding.weight"));

  const torch::NoGradGuard no_grad;
  const auto difference = decoder->forward(ids_BN) - images_BCHW;
  CHECK(loss.total.item<double>() == doctest::Approx(difference.square().mean().item<double>()).epsilon(1e-5));
  CHECK(loss.absolute.item<double>() == doctest::Approx(difference.abs().mean().item<double>()).epsilon(1e-5));
  const auto decibels_B = -10 * difference.square().flatten(1).mean(1).log10();
  CHECK(loss.psnr.item<double>() == doctest::Approx(decibels_B.mean().item<double>()).epsilon(1e-5));
  const auto pictures_BCHW = decoder->reconstruct(ids_BN);
  CHECK(torch::equal(pictures_BCHW, decoder->forward(ids_BN).clamp(0, 1)));
}

TEST_CASE("pixel decoder: a patch's pixels stand where the patch stands, by row, column and channel") {
  PixelDecoder decoder = small_decoder();
  const torch::NoGradGuard no_grad;
  auto tensors = state_dict(*decoder);
  // Whatever the token, the last layer gives the same patch.
  tensors.at("decode_pixels.weight").zero_();
  const auto patch_HWC = torch::rand({4, 4, 3});
  tensors.at("decode_pixels.bias").copy_((2 * patch_HWC - 1).flatten());
  const auto images_BCHW = decoder->forward(torch::zeros({1, 12}, torch::kInt64));
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t column = 0; column < 4; ++column) {
      const auto found_CHW = images_BCHW[0].narrow(1, 4 * row, 4).narrow(2, 4 * column, 4);
      CHECK(torch::allclose(found_CHW, patch_HWC.permute({2, 0, 1}), 0, 1e-6));
    }
  }

  // Another code at one place changes most the patch of that number.
  PixelDecoder other = small_decoder();
  auto ids_BN = torch::zeros({1, 12}, torch::kInt64);
  const auto before = other->forward(ids_BN);
  ids_BN[0][6] = 3;  // row 1, column 2
  const auto moved = (other->forward(ids_BN) - before).abs().sum(1)[0];
  const auto by_patch = moved.reshape({3, 4, 4, 4}).sum({1, 3}).flatten();
  CHECK(by_patch.argmax().item<int64_t>() == 6);
}

TEST_CASE("pixel decoder: on another grid it does what one of that grid with its positions resized does") {
  PixelDecoder decoder = small_decoder();
  PixelDecoderOptions options = kSmall;
  options.vit.grid = {5, 2};
  PixelDecoder other = small_decoder(options);
  auto tensors = state_dict(*decoder);
  resize_to_grid(tensors, kSmall.vit.grid, options.vit.grid);
  load_state_dict_strict(*other, tensors, "resized");
  const torch::NoGradGuard no_grad;
  const auto ids_BN = torch::randint(10, {2, 10}, torch::kInt64);
  CHECK(torch::allclose(decoder->forward(ids_BN, Grid{5, 2}), other->forward(ids_BN), 1e-5, 1e-6));
}

TEST_CASE("pixel decoder: steps of training teach it the colour of each code, and leave the codebook") {
  PixelDecoder decoder = small_decoder();
  const auto codebook_KC = decoder->codebook().clone();
  const auto ids_BN = torch::randint(10, {4, 12}, torch::kInt64);
  const auto images_BCHW = torch::rand({10, 3})
                               .index_select(0, ids_BN.flatten())
                               .view({4, 3, 4, 3})
                               .permute({0, 3, 1, 2})
                               .repeat_interleave(4, 2)
                               .repeat_interleave(4, 3);
  torch::optim::AdamW optimizer(decoder->parameters(), torch::optim::AdamWOptions(1e-2));
  const double first = decoder->loss(ids_BN, images_BCHW).total.item<double>();
  for (int step = 0; step < 100; ++step) {
    optimizer.zero_grad();
    decoder->loss(ids_BN, images_BCHW).total.backward();
    optimizer.step();
  }
  CHECK(decoder->loss(ids_BN, images_BCHW).total.item<double>() < 0.5 * first);
  CHECK(torch::equal(decoder->codebook(), codebook_KC));
}

TEST_CASE("pixel decoder: what does not fit is refused") {
  PixelDecoder decoder = small_decoder();
  CHECK_THROWS_WITH_AS(decoder->forward(torch::zeros({2, 9}, torch::kInt64)),
                       doctest::Contains("expected codes [B, 12] for 3x4 patches, got [2, 9]"), Error);
  CHECK_THROWS_WITH_AS(decoder->loss(torch::zeros({1, 12}, torch::kInt64), torch::rand({1, 3, 12, 15})),
                       doctest::Contains("multiples of 4"), Error);
  CHECK_THROWS_AS(decoder->set_codebook(torch::zeros({10, 4})), Error);
  CHECK_THROWS_AS(PixelDecoder(PixelDecoderOptions{.vit = {}, .codes = 0}), Error);
}

}  // namespace
}  // namespace beit

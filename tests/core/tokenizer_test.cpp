// VQ-KD. Shape letters: B images, N patches, C width of a code, F width of the teacher's feature.
#include "core/tokenizer.h"

#include "base/error.h"
#include "core/normalise.h"
#include "core/teacher.h"
#include "core/weights_regrid.h"
#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

// As golden/vqkd states it.
const TokenizerOptions kGolden{.encoder = {.grid = {4, 4}, .patch_size = 8, .width = 32, .depth = 2, .heads = 4},
                               .decoder_width = 32,
                               .decoder_depth = 1,
                               .decoder_heads = 4,
                               .quantizer = {.codes = 64, .width = 8, .kmeans_start = false},
                               .target_width = 24};

TEST_CASE("tokenizer: the codes of masked patches are those of all, at the mask") {
  torch::manual_seed(63);
  Tokenizer tokenizer(
      TokenizerOptions{.encoder = {.grid = {4, 4}, .patch_size = 4, .width = 32, .depth = 2, .heads = 4},
                       .decoder_width = 32,
                       .decoder_depth = 1,
                       .decoder_heads = 4,
                       .quantizer = {.codes = 16, .width = 8, .kmeans_start = false},
                       .target_width = 24});
  tokenizer->eval();
  const auto images_BCHW = torch::rand({3, 3, 16, 16});
  const auto mask_BN = torch::rand({3, 16}).lt(0.4);
  CHECK(torch::equal(tokenizer->masked_codes(images_BCHW, mask_BN), tokenizer->codes(images_BCHW).index({mask_BN})));
}

TEST_CASE("tokenizer: two training steps equal the oracle, every gradient too") {
  const auto file = read_safetensors(golden("vqkd.safetensors")).tensors;
  Tokenizer tokenizer(kGolden);
  load_state_dict_strict(*tokenizer, tensors_under(file, "w."), "golden/vqkd");
  const auto teacher = make_teacher({.kind = "clip"}, kGolden.encoder.grid, tensors_under(file, "teacher."));
  for (const std::string step : {"0", "1"}) {
    CAPTURE(step);
    const auto images_BCHW = file.at("in.images" + step);
    const auto target_BNF = teacher->target(images_BCHW);
    CHECK(difference(target_BNF, file.at("out.target" + step)) < 1e-5);
    const auto loss = tokenizer->forward(images_BCHW, target_BNF);
    CHECK(torch::equal(loss.ids_BN, file.at("out.codes" + step)));
    CHECK(difference(loss.total, file.at("out.loss" + step)) < 1e-5);
    CHECK(difference(loss.reconstruction, file.at("out.rec_loss" + step)) < 1e-5);
    CHECK(difference(loss.commitment, file.at("out.commit" + step)) < 1e-5);
    if (step == "0") {
      loss.total.backward();
      check_gradients(*tokenizer, tensors_under(file, "grad."), 1e-4);
    }
    tokenizer->quantizer()->update();
    CHECK(difference(tokenizer->quantizer()->codebook(), file.at("out.codebook" + step)) < 1e-5);
  }
  tokenizer->eval();
  CHECK(torch::equal(tokenizer->codes(file.at("in.images_eval")), file.at("out.codes_eval")));
}

TEST_CASE("tokenizer: decode() predicts what the oracle predicts from the same codes") {
  const auto file = read_safetensors(golden("vqkd.safetensors")).tensors;
  Tokenizer tokenizer(kGolden);
  load_state_dict_strict(*tokenizer, tensors_under(file, "w."), "golden/vqkd");
  tokenizer->eval();
  const torch::NoGradGuard no_grad;
  const auto codes_BNC = tokenizer->encode(file.at("in.images0")).codes_BND;
  CHECK(difference(tokenizer->decode(codes_BNC), file.at("out.rec0")) < 1e-5);
}

TEST_CASE("tokenizer: the two input forms standardise images differently, and say nothing else") {
  torch::manual_seed(41);
  TokenizerOptions imagenet = kGolden;
  imagenet.input = InputForm::kImagenetNorm;
  Tokenizer one(kGolden), other(imagenet);
  load_state_dict_strict(*other, state_dict(*one), "copy");
  one->eval();
  other->eval();
  const auto images_BCHW = torch::rand({2, 3, 32, 32});
  // What the other form shows the encoder, put into the range of the first.
  const auto same_BCHW = (normalise(images_BCHW, kImagenetMean, kImagenetStd) + 1) / 2;
  const auto difference_of_loss = difference(other->encode(images_BCHW).loss, one->encode(same_BCHW).loss);
  CHECK(difference_of_loss < 1e-5);
  CHECK(difference(other->encode(images_BCHW).loss, one->encode(images_BCHW).loss) > 1e-4);
}

TEST_CASE("tokenizer: vectors() turn into the codes that are nearest to them") {
  torch::manual_seed(43);
  Tokenizer tokenizer(kGolden);
  tokenizer->eval();
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::rand({2, 3, 32, 32});
  const auto vectors_BNC = tokenizer->vectors(images_BCHW);
  const auto similarity_BNK = torch::matmul(vectors_BNC, tokenizer->quantizer()->codebook().t());
  CHECK(torch::equal(similarity_BNK.argmax(-1), tokenizer->codes(images_BCHW)));
}

TEST_CASE("tokenizer: codes() need no gradient and are those of encode()") {
  torch::manual_seed(42);
  Tokenizer tokenizer(kGolden);
  tokenizer->eval();
  const auto images_BCHW = torch::rand({3, 3, 32, 32});
  const auto ids_BN = tokenizer->codes(images_BCHW);
  CHECK(ids_BN.sizes() == torch::IntArrayRef({3, 16}));
  CHECK((ids_BN.scalar_type() == torch::kInt64));
  CHECK(torch::equal(ids_BN, tokenizer->encode(images_BCHW).ids_BN));
}

TEST_CASE("tokenizer: nearest() gives the codes of codes() and the cosine of each vector and its code") {
  torch::manual_seed(44);
  Tokenizer tokenizer(kGolden);
  tokenizer->eval();
  const auto images_BCHW = torch::rand({2, 3, 32, 32});
  std::vector<torch::Tensor> components;  // of the vectors: their cosines with the axes
  for (int64_t i = 0; i < 8; ++i) {
    tokenizer->quantizer()->set_codebook(torch::eye(8)[i].expand({64, 8}));
    components.push_back(tokenizer->nearest(images_BCHW).similarity_BN);
  }
  const auto vectors_BNC = torch::stack(components, -1);
  CHECK(torch::allclose(vectors_BNC.square().sum(-1), torch::ones({2, 16})));

  const auto codes_KC = torch::randn({64, 8});
  const auto unit_KC = codes_KC / codes_KC.square().sum(1, /*keepdim=*/true).sqrt();
  tokenizer->quantizer()->set_codebook(3 * unit_KC);
  const auto found = tokenizer->nearest(images_BCHW);
  const auto [cosine_BN, ids_BN] = vectors_BNC.matmul(unit_KC.t()).max(-1);
  CHECK(torch::equal(found.ids_BN, ids_BN));
  CHECK(torch::equal(found.ids_BN, tokenizer->codes(images_BCHW)));
  CHECK(torch::allclose(found.similarity_BN, cosine_BN, /*rtol=*/0, /*atol=*/1e-5));
  CHECK(!found.similarity_BN.requires_grad());
}

TEST_CASE("tokenizer: a grid that is not square goes through encoder and decoder") {
  torch::manual_seed(43);
  TokenizerOptions options = kGolden;
  options.encoder.grid = {2, 4};
  Tokenizer tokenizer(options);
  const auto loss = tokenizer->forward(torch::rand({2, 3, 16, 32}), torch::randn({2, 8, 24}));
  CHECK(loss.ids_BN.sizes() == torch::IntArrayRef({2, 8}));
  CHECK(std::isfinite(loss.total.item<double>()));
}

TEST_CASE("tokenizer: at another size it does what one of that size with its weights resized does") {
  torch::manual_seed(44);
  const Grid grid{3, 6};
  TokenizerOptions options = kGolden;
  options.encoder.grid = grid;
  Tokenizer tokenizer(kGolden), other(options);
  auto tensors = state_dict(*tokenizer);
  resize_to_grid(tensors, kGolden.encoder.grid, grid);
  load_state_dict_strict(*other, tensors, "resized");
  tokenizer->eval();
  other->eval();
  const auto images_BCHW = torch::rand({2, 3, 24, 48});
  const auto codes_BNC = tokenizer->encode(images_BCHW).codes_BND;
  CHECK(torch::equal(tokenizer->codes(images_BCHW), other->codes(images_BCHW)));
  CHECK(difference(tokenizer->decode(codes_BNC, grid), other->decode(codes_BNC)) < 1e-6);
  const auto target_BNF = torch::randn({2, 18, 24});
  CHECK(difference(tokenizer->forward(images_BCHW, target_BNF).total, other->forward(images_BCHW, target_BNF).total) <
        1e-6);
  CHECK_THROWS_WITH_AS(
      tokenizer->decode(codes_BNC),
      doctest::Contains("code vectors [B, 16, C] for 4x4 patches, got [2, 18, 8]; give decode() the images' grid"),
      Error);
  CHECK_THROWS_AS(tokenizer->decode(codes_BNC, Grid{3, 5}), Error);
  CHECK_THROWS_WITH_AS(tokenizer->forward(images_BCHW, torch::randn({2, 16, 24})), doctest::Contains("[B, 18, 24]"),
                       Error);
}

TEST_CASE("tokenizer: features of another grid or width are refused") {
  Tokenizer tokenizer(kGolden);
  const auto images_BCHW = torch::rand({2, 3, 32, 32});
  CHECK_THROWS_WITH_AS(tokenizer->forward(images_BCHW, torch::randn({2, 16, 25})),
                       doctest::Contains("as [B, 16, 24], got [2, 16, 25]"), Error);
  CHECK_THROWS_AS(tokenizer->forward(images_BCHW, torch::randn({2, 9, 24})), Error);
}

}  // namespace
}  // namespace beit

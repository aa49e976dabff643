// What a report computes from networks and images.
#include <doctest/doctest.h>

#include <fstream>

#include "core/normalise.h"
#include "tests/data/samples.h"
#include "tests/support.h"
#include "tests/train/small_models.h"
#include "train/attention_maps.h"
#include "train/masked_predictions.h"
#include "train/neighbours.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

const torch::Device kCpu(torch::kCPU);

/// Images of the small model's size in two class folders; one is damaged where that is asked for.
struct Images {
  TemporaryFolder root;
  Dataset images;

  explicit Images(bool damaged = false) {
    for (const char* name : {"a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png"})
      write_png(root.path / name, picture(32, 32, static_cast<uint64_t>(name[0] * 8 + name[2])));
    if (damaged) std::ofstream(root.path / "a/1.png") << "damaged";
    const std::vector<fs::path> sources{root.path};
    images = Dataset::open(sources);
  }
};

ModelOptions small_model() {
  ModelOptions model = kSmallModel;
  resolve(model);
  return model;
}

TEST_CASE("report: the images shown are spread over the data, and a damaged one's place is taken") {
  const Images whole, damaged(true);
  CHECK(shown_images(whole.images, small_model(), 3, false).indices == std::vector<int64_t>{0, 2, 4});
  CHECK(shown_images(whole.images, small_model(), 99, false).indices.size() == 6);
  CHECK(shown_images(damaged.images, small_model(), 6, false).indices == std::vector<int64_t>{0, 2, 3, 4, 5});
  const auto shown = shown_images(whole.images, small_model(), 2, false);
  CHECK(shown.images_BCHW.sizes() == torch::IntArrayRef({2, 3, 32, 32}));
  CHECK(shown.images[1].name.ends_with("b/0.png"));
  CHECK(shown.images[1].picture.bytes.starts_with("\x89PNG"));
  const auto large = encoded(picture(300, 1300));
  CHECK(large.width == 640);
  CHECK(large.height == 147);
  CHECK(large.bytes.starts_with("\xff\xd8"));
}

TEST_CASE("report: attention takes no more bytes than it may") {
  const ViTOptions vit{.grid = {14, 14}, .depth = 12, .heads = 12};
  const int64_t layer_bytes = int64_t{12} * 197 * 197;
  for (const int64_t bytes : {layer_bytes, 5 * layer_bytes, 20 * layer_bytes, 1000 * layer_bytes}) {
    const auto share = attention_share(vit, 4, bytes);
    CHECK(share.images * std::ssize(share.layers) * layer_bytes <= bytes);
    CHECK(share.layers.back() == 12);
  }
  CHECK(attention_share(vit, 4, layer_bytes - 1).images == 0);
  CHECK(attention_share(vit, 4, 8 * layer_bytes).images == 2);
  CHECK(attention_share(vit, 4, 8 * layer_bytes).layers == std::vector<int64_t>{3, 6, 9, 12});
  CHECK(attention_share(vit, 4, 1000 * layer_bytes).layers.size() == 12);
}

TEST_CASE("report: attention maps are the network's own, to half of a 255th") {
  const Images images;
  const fs::path weights = images.root.path / "model.safetensors";
  write_small_pretrained(weights);
  const auto backbone = load_backbone(weights);
  const auto shown = shown_images(images.images, backbone.options, 2, false);
  const auto report = attention_maps(backbone, shown, {2, {1, 2}}, kCpu);
  REQUIRE(report.images.size() == 2);
  ViT model = backbone.model;
  const auto expected = model->attention(normalise(shown.images_BCHW, backbone.input), {1, 2});
  for (int64_t i = 0; i < 2; ++i) {
    const AttendedImage& one = report.images[static_cast<size_t>(i)];
    for (int64_t layer = 0; layer < 2; ++layer) {
      const auto weights_HTT = one.weights_LHTT[layer].to(torch::kFloat32) / 255 * one.largest_LHT[layer].unsqueeze(-1);
      CHECK((weights_HTT - expected[static_cast<size_t>(layer)][i]).abs().max().item<double>() < 0.5 / 255 + 1e-6);
    }
  }
}

TEST_CASE("report: masked predictions are the model's, and the codes the tokenizer's") {
  const Images images;
  const fs::path weights = images.root.path / "model.safetensors", coder_path = images.root.path / "coder.safetensors";
  write_small_pretrained(weights);
  write_small_tokenizer(coder_path);
  const auto mim = load_mim(weights);
  auto coder = load_tokenizer(coder_path);
  const auto report = masked_predictions(mim, coder, images.images, {4, 1}, false, kCpu);
  REQUIRE(report.images.size() == 2);
  const auto shown = shown_images(images.images, mim.options, 6, false);
  for (size_t i = 0; i < 2; ++i) {
    const MaskedImage& one = report.images[i];
    const auto image_1CHW = shown.images_BCHW.narrow(0, i == 0 ? 4 : 1, 1);
    CHECK(one.mask_N.sum().item<int64_t>() == mim.choice.masked_patches);
    CHECK(torch::equal(one.codes_N, coder.model->codes(image_1CHW)[0]));
    MaskedImageModel model = mim.model;
    const torch::NoGradGuard no_grad;
    const auto logits_MV =
        model->forward(normalise(image_1CHW, kImagenetMean, kImagenetStd), one.mask_N.unsqueeze(0)).main_MV;
    CHECK(torch::equal(one.foretold_N.masked_select(one.mask_N), logits_MV.argmax(1)));
    CHECK(one.foretold_N.masked_select(one.mask_N.logical_not()).eq(-1).all().item<bool>());
    CHECK(one.confidence_N.max().item<double>() <= 1);
    CHECK(one.confidence_N.masked_select(one.mask_N).min().item<double>() > 1.0 / kSmallCodes - 1e-6);
  }
  CHECK(!torch::equal(report.images[0].mask_N, report.images[1].mask_N));
  coder.codebook.codes = 4;
  CHECK_THROWS_WITH_AS(masked_predictions(mim, coder, images.images, {0}, false, kCpu),
                       doctest::Contains("expected a tokenizer of 16 codes"), Error);
}

TEST_CASE("report: an image's twin is its nearest, and no image its own neighbour") {
  const Images images;
  fs::copy_file(images.root.path / "a/0.png", images.root.path / "b/3.png");
  const std::vector<fs::path> sources{images.root.path};
  const Dataset all = Dataset::open(sources);
  const fs::path weights = images.root.path / "model.safetensors";
  write_small_pretrained(weights);
  const auto backbone = load_backbone(weights);
  const auto report =
      nearest_images(backbone, all, {.workers = 1}, {.rows = 7, .nearest = 3, .batch_size = 4}, kCpu, true);
  CHECK(report.images == 7);
  REQUIRE(report.rows.size() == 7);
  int twins = 0;
  for (const NeighbourRow& row : report.rows) {
    REQUIRE(row.nearest.size() == 3);
    for (const Neighbour& one : row.nearest) CHECK(one.image.name != row.image.name);
    CHECK(row.nearest[0].cosine >= row.nearest[1].cosine);
    if (!row.image.name.ends_with("a/0.png") && !row.image.name.ends_with("b/3.png")) continue;
    ++twins;
    CHECK(row.nearest[0].cosine == doctest::Approx(1).epsilon(1e-5));
  }
  CHECK(twins == 2);
  CHECK(nearest_images(backbone, all, {.workers = 1}, {.images = 4, .batch_size = 2}, kCpu, true).images == 4);
}

}  // namespace
}  // namespace beit

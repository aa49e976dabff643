// What a tokenizer's codes stand for in a set of images.
#include "train/code_atlas.h"

#include <doctest/doctest.h>

#include <fstream>

#include "base/error.h"
#include "data/image.h"
#include "data/resize.h"
#include "tests/data/samples.h"
#include "tests/support.h"
#include "tests/train/small_models.h"
#include "viz/surroundings.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// Images of several sizes, and a tokenizer of 4 by 4 patches of 8 pixels.
struct Folder {
  TemporaryFolder root;
  fs::path model = root.path / "model.safetensors", images = root.path / "images";
  LoadedTokenizer tokenizer;
  std::vector<torch::Tensor> pixels_HWC;

  Folder() {
    write_small_tokenizer(model);
    tokenizer = load_tokenizer(model);
    for (uint64_t i = 0; i < 5; ++i) {
      pixels_HWC.push_back(picture(32 + 9 * static_cast<int64_t>(i), 40, i));
      write_png(images / fmt::format("{}.png", i), pixels_HWC.back());
    }
  }

  Dataset open() const { return Dataset::open(std::vector<fs::path>{images}); }
};

const DataOptions kData{.workers = 1};

TEST_CASE("code atlas: is that of the codes of all images' evaluation views, for any batch size") {
  Folder folder;
  const Dataset images = folder.open();
  AtlasBuilder builder(kSmallCodes, {4, 4}, 3);
  for (size_t i = 0; i < 5; ++i) {
    const auto view_1CHW = to_float(evaluation_pixels(folder.pixels_HWC[i], {32, 32})).unsqueeze(0);
    const auto found = folder.tokenizer.model->nearest(view_1CHW);
    builder.add(torch::tensor({static_cast<int64_t>(i)}), found.ids_BN, found.similarity_BN);
  }
  const CodeAtlas expected = builder.finish();
  for (const int64_t batch_size : {1, 2, 8}) {
    CAPTURE(batch_size);
    const auto atlas = make_atlas(folder.tokenizer, images, kData, 3, batch_size, torch::kCPU, /*quiet=*/true);
    CHECK(atlas.images == 5);
    CHECK(torch::equal(atlas.uses_K, expected.uses_K));
    CHECK(torch::equal(atlas.images_K, expected.images_K));
    CHECK(torch::equal(atlas.where_KN, expected.where_KN));
    CHECK(torch::allclose(atlas.similarity_K, expected.similarity_K, /*rtol=*/0, /*atol=*/1e-5));
    REQUIRE(atlas.examples.size() == expected.examples.size());
    for (size_t code = 0; code < atlas.examples.size(); ++code) {
      CAPTURE(code);
      REQUIRE(atlas.examples[code].size() == expected.examples[code].size());
      for (size_t i = 0; i < atlas.examples[code].size(); ++i)
        CHECK(atlas.examples[code][i].place.image == expected.examples[code][i].place.image);
    }
  }
}

TEST_CASE("code atlas: the codes of one view are those of its image in the data") {
  Folder folder;
  const Dataset images = folder.open();
  each_batch_of_codes(
      folder.tokenizer, images, kData, 3, torch::kCPU, /*quiet=*/true,
      [&](const Batch& batch, const NearestCodes& found) {
        for (int64_t row = 0; row < found.ids_BN.size(0); ++row) {
          const auto index = batch.indices_B[row].item<int64_t>();
          const auto view_HWC = evaluation_image(images, index, folder.tokenizer.options, false);
          CHECK(torch::equal(codes_of_view(folder.tokenizer, view_HWC, torch::kCPU), found.ids_BN[row]));
        }
      });
}

TEST_CASE("code atlas: damaged images are left out, and none left is an Error") {
  Folder folder;
  std::ofstream(folder.images / "1.png") << "damaged";
  const auto atlas = make_atlas(folder.tokenizer, folder.open(), kData, 8, 2, torch::kCPU, /*quiet=*/true);
  CHECK(atlas.images == 4);
  CHECK(atlas.uses_K.sum().item<int64_t>() == 4 * 16);
  for (const auto& of_code : atlas.examples) {
    for (const CodeExample& example : of_code) CHECK(example.place.image != 1);
  }
  for (int i = 0; i < 5; ++i) std::ofstream(folder.images / fmt::format("{}.png", i)) << "damaged";
  CHECK_THROWS_WITH_AS(make_atlas(folder.tokenizer, folder.open(), kData, 8, 2, torch::kCPU, true),
                       doctest::Contains("got 5 damaged ones"), Error);
}

TEST_CASE("code atlas: a patch's pixels are those of the evaluation view, with as many patches around as asked for") {
  Folder folder;
  const Dataset images = folder.open();
  const auto& model = folder.tokenizer.options;
  const auto view_HWC = evaluation_pixels(folder.pixels_HWC[3], {32, 32});
  CHECK(torch::equal(evaluation_image(images, 3, model, false), view_HWC));
  const auto alone_HWC = patch_with_surroundings(images, {3, 6}, model, 0, false);
  CHECK(torch::equal(alone_HWC, view_HWC.slice(0, 8, 16).slice(1, 16, 24)));
  CHECK(alone_HWC.is_contiguous());
  CHECK(alone_HWC.storage().nbytes() == 8 * 8 * 3);  // holds no more than it shows
  CHECK(torch::equal(patch_with_surroundings(images, {3, 6}, model, 1, false), view_HWC.slice(0, 0, 24).slice(1, 8)));
  CHECK(torch::equal(patch_with_surroundings(images, {3, 6}, model, 9, false), view_HWC));
  CHECK_THROWS_AS(patch_with_surroundings(images, {3, 16}, model, 0, false), Error);
}

}  // namespace
}  // namespace beit

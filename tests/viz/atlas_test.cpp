#include "viz/atlas.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"

namespace beit {
namespace {

constexpr Grid kGrid{2, 2};

CodeAtlas atlas_of(const torch::Tensor& indices_I, const torch::Tensor& codes_IN, const torch::Tensor& similarity_IN,
                   int64_t codes, int64_t examples, int64_t batch = 2) {
  AtlasBuilder builder(codes, kGrid, examples);
  for (int64_t first = 0; first < codes_IN.size(0); first += batch)
    builder.add(indices_I.slice(0, first, first + batch), codes_IN.slice(0, first, first + batch),
                similarity_IN.slice(0, first, first + batch));
  return builder.finish();
}

bool same(const CodeExample& a, const CodeExample& b) {
  return a.place.image == b.place.image && a.place.patch == b.place.patch && a.similarity == b.similarity;
}

TEST_CASE("atlas: counts uses, images and places of each code") {
  const auto codes_IN = torch::tensor({{0, 0, 2, 0}, {2, 0, 2, 2}, {1, 0, 0, 0}});
  const auto similarity_IN = torch::full({3, 4}, 0.5, torch::kFloat32);
  similarity_IN[2][0].fill_(-0.25);
  const auto atlas = atlas_of(torch::tensor({7, 8, 9}), codes_IN, similarity_IN, 4, 3);
  CHECK(atlas.images == 3);
  CHECK(torch::equal(atlas.uses_K, torch::tensor({7, 1, 4, 0})));
  CHECK(torch::equal(atlas.images_K, torch::tensor({3, 1, 2, 0})));
  CHECK(torch::equal(atlas.where_KN, torch::tensor({{1, 3, 1, 2}, {1, 0, 0, 0}, {1, 0, 2, 1}, {0, 0, 0, 0}})));
  CHECK(torch::equal(atlas.similarity_K, torch::tensor({0.5, -0.25, 0.5, 0.0}, torch::kFloat64)));
  REQUIRE(atlas.examples.size() == 4);
  CHECK(atlas.examples[3].empty());
}

TEST_CASE("atlas: examples are the nearest patches, one an image, equals in the order of images and patches") {
  const auto codes_IN = torch::tensor({{0, 0, 0, 1}, {0, 1, 1, 1}, {0, 0, 1, 1}, {0, 1, 1, 1}});
  const auto similarity_IN = torch::tensor(
      {{0.25F, 0.75F, 0.75F, 0.5F}, {1.0F, 0.0F, 0.0F, 0.0F}, {0.5F, 0.75F, 0.5F, 0.5F}, {0.1F, 0.5F, 0.5F, 0.25F}});
  const auto atlas = atlas_of(torch::tensor({3, 5, 2, 9}), codes_IN, similarity_IN, 2, 3);
  REQUIRE(atlas.examples[0].size() == 3);
  CHECK(same(atlas.examples[0][0], {{5, 0}, 1.0F}));
  CHECK(same(atlas.examples[0][1], {{2, 1}, 0.75F}));  // the same cosine as the next: the image comes first
  CHECK(same(atlas.examples[0][2], {{3, 1}, 0.75F}));  // and of its own two patches the first
  REQUIRE(atlas.examples[1].size() == 3);
  CHECK(same(atlas.examples[1][0], {{2, 2}, 0.5F}));
  CHECK(same(atlas.examples[1][1], {{3, 3}, 0.5F}));
  CHECK(same(atlas.examples[1][2], {{9, 1}, 0.5F}));
}

TEST_CASE("atlas: equals a search through all patches, whatever the order and the batches") {
  torch::manual_seed(11);
  constexpr int64_t kImages = 60, kCodes = 7, kExamples = 5;
  const auto codes_IN = torch::randint(kCodes, {kImages, 4}, torch::kInt64);
  const auto similarity_IN = torch::randint(-8, 9, {kImages, 4}, torch::kInt64).to(torch::kFloat32) / 8;  // with ties
  const auto atlas = atlas_of(torch::arange(kImages), codes_IN, similarity_IN, kCodes, kExamples, 16);
  for (int64_t code = 0; code < kCodes; ++code) {
    CAPTURE(code);
    std::vector<std::tuple<float, int64_t, int64_t>> nearest;  // of each image, as ascending order has them
    for (int64_t image = 0; image < kImages; ++image) {
      std::vector<std::tuple<float, int64_t, int64_t>> own;
      for (int64_t patch = 0; patch < 4; ++patch) {
        if (codes_IN[image][patch].item<int64_t>() == code)
          own.emplace_back(-similarity_IN[image][patch].item<float>(), image, patch);
      }
      if (!own.empty()) nearest.push_back(*std::ranges::min_element(own));
    }
    std::ranges::sort(nearest);
    nearest.resize(std::min<size_t>(nearest.size(), kExamples));
    const auto& found = atlas.examples[static_cast<size_t>(code)];
    REQUIRE(found.size() == nearest.size());
    for (size_t i = 0; i < found.size(); ++i) {
      CAPTURE(i);
      const auto& [similarity, image, patch] = nearest[i];
      CHECK(same(found[i], {{image, patch}, -similarity}));
    }
  }
  const auto order_I = torch::randperm(kImages, torch::kInt64);
  const auto shuffled = atlas_of(order_I, codes_IN.index_select(0, order_I), similarity_IN.index_select(0, order_I),
                                 kCodes, kExamples, 7);
  CHECK(torch::equal(shuffled.uses_K, atlas.uses_K));
  CHECK(torch::equal(shuffled.images_K, atlas.images_K));
  CHECK(torch::equal(shuffled.where_KN, atlas.where_KN));
  for (size_t code = 0; code < atlas.examples.size(); ++code)
    CHECK(std::ranges::equal(shuffled.examples[code], atlas.examples[code], same));
}

TEST_CASE("atlas: keeps no more examples than asked for, and none where none are") {
  torch::manual_seed(12);
  const auto codes_IN = torch::randint(3, {200, 4}, torch::kInt64);
  const auto similarity_IN = torch::rand({200, 4}) * 2 - 1;
  for (const int64_t examples : {0, 1, 6}) {
    CAPTURE(examples);
    const auto atlas = atlas_of(torch::arange(200), codes_IN, similarity_IN, 3, examples, 50);
    for (const auto& of_code : atlas.examples) {
      CHECK(std::ssize(of_code) == examples);
      CHECK(static_cast<int64_t>(of_code.capacity()) <= 2 * examples);
    }
    CHECK(atlas.uses_K.sum().item<int64_t>() == 800);
  }
}

TEST_CASE("atlas: codes, cosines and shapes that cannot be are refused, and a batch without images is none") {
  AtlasBuilder builder(4, kGrid, 2);
  const auto one = torch::tensor({0}), codes = torch::arange(4).view({1, 4}), cosines = torch::zeros({1, 4});
  builder.add(one.slice(0, 0, 0), codes.slice(0, 0, 0), cosines.slice(0, 0, 0));
  CHECK_THROWS_WITH_AS(builder.add(one, codes + 1, cosines), doctest::Contains("codes in [0, 4), got 1 to 4"), Error);
  CHECK_THROWS_WITH_AS(builder.add(one, codes - 1, cosines), doctest::Contains("got -1 to 2"), Error);
  CHECK_THROWS_WITH_AS(builder.add(one, codes, cosines + 2), doctest::Contains("cosines in [-1, 1]"), Error);
  CHECK_THROWS_WITH_AS(builder.add(one, codes, cosines / 0), doctest::Contains("cosines in [-1, 1]"), Error);  // NaN
  CHECK_THROWS_WITH_AS(builder.add(torch::tensor({0, 1}), codes, cosines), doctest::Contains("got [2]"), Error);
  CHECK_THROWS_WITH_AS(builder.add(one, codes.slice(1, 0, 3), cosines.slice(1, 0, 3)), doctest::Contains("[B, 4]"),
                       Error);
  CHECK_THROWS_AS(AtlasBuilder(0, kGrid, 2), Error);
  CHECK(builder.finish().images == 0);
}

}  // namespace
}  // namespace beit

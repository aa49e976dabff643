// Shape letters: B images, N patches, D width.
#include "core/patch_embed.h"

#include "base/error.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

TEST_CASE("patch_embed: the convolution whose stride is its kernel, patches row by row") {
  torch::manual_seed(1);
  const ViTOptions options{.grid = {2, 3}, .patch_size = 4, .channels = 5, .width = 7};
  PatchEmbed embed(options);
  const auto tensors = state_dict(*embed);
  const auto images_BCHW = torch::randn({2, 5, 8, 12});
  const auto map_BDHW = torch::conv2d(images_BCHW, tensors.at("proj.weight"), tensors.at("proj.bias"), 4);
  CHECK(difference(embed->forward(images_BCHW), map_BDHW.flatten(2).transpose(1, 2)) < 1e-5);
}

TEST_CASE("patch_embed: each patch is seen alone, whatever the number of patches") {
  torch::manual_seed(2);
  PatchEmbed embed(ViTOptions{.grid = {2, 3}, .patch_size = 4, .width = 7});
  const auto images_BCHW = torch::randn({2, 3, 12, 20});
  CHECK(embed->grid(images_BCHW) == Grid{3, 5});
  const auto patches_BND = embed->forward(images_BCHW);
  CHECK(patches_BND.sizes() == torch::IntArrayRef({2, 15, 7}));
  const auto part_BND = embed->forward(images_BCHW.slice(2, 4, 8).slice(3, 8, 16));
  CHECK(difference(part_BND, patches_BND.slice(1, 7, 9)) < 1e-6);
}

TEST_CASE("patch_embed: images that are no whole number of patches, or of other channels, are refused") {
  PatchEmbed embed(ViTOptions{.grid = {2, 3}, .patch_size = 4, .width = 7});
  CHECK_THROWS_WITH_AS(
      embed->forward(torch::randn({2, 3, 8, 13})),
      doctest::Contains("expected images [B, 3, H, W] whose sides are multiples of 4, got [2, 3, 8, 13]"), Error);
  CHECK_THROWS_AS(embed->forward(torch::randn({2, 3, 9, 12})), Error);
  CHECK_THROWS_AS(embed->forward(torch::randn({2, 3, 0, 12})), Error);
  CHECK_THROWS_AS(embed->forward(torch::randn({2, 1, 8, 12})), Error);
  CHECK_THROWS_AS(embed->forward(torch::randn({3, 8, 12})), Error);
}

}  // namespace
}  // namespace beit

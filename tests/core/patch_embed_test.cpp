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

TEST_CASE("patch_embed: images of another size or number of channels are refused") {
  PatchEmbed embed(ViTOptions{.grid = {2, 3}, .patch_size = 4, .width = 7});
  CHECK_THROWS_WITH_AS(embed->forward(torch::randn({2, 3, 12, 8})), doctest::Contains("got [2, 3, 12, 8]"), Error);
  CHECK_THROWS_WITH_AS(embed->forward(torch::randn({2, 1, 8, 12})), doctest::Contains("[B, 3, 8, 12]"), Error);
  CHECK_THROWS_AS(embed->forward(torch::randn({3, 8, 12})), Error);
}

}  // namespace
}  // namespace beit

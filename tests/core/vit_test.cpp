// Shape letters: B images, N patches, T tokens, D width.
#include "core/vit.h"

#include "base/error.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

const ViTOptions kSmall{.grid = {2, 3}, .patch_size = 4, .width = 12, .depth = 3, .heads = 3};

torch::Tensor pictures(int64_t images) {
  torch::manual_seed(9);
  return torch::randn({images, 3, 8, 12});
}

TEST_CASE("vit: CLS stands first, and tokens() are those of the last of layers()") {
  ViT vit(kSmall, FinalNorm::kPatches);
  const auto images_BCHW = pictures(2);
  const auto tokens_BTD = vit->tokens(images_BCHW);
  CHECK(tokens_BTD.sizes() == torch::IntArrayRef({2, 7, 12}));
  const auto layers = vit->layers(images_BCHW, {1, 3});
  REQUIRE(layers.size() == 2);
  CHECK(torch::equal(layers[1], tokens_BTD));
  CHECK(difference(layers[0], tokens_BTD) > 1e-6);
  // Without positions, moving a patch moves its token.
  for (auto& [name, tensor] : state_dict(*vit)) {
    if (name == "pos_embed") tensor.zero_();
  }
  const auto flipped_BTD = vit->tokens(images_BCHW.flip({3}).view({2, 3, 8, 3, 4}).flip({4}).reshape({2, 3, 8, 12}));
  const auto plain_BTD = vit->tokens(images_BCHW);
  CHECK(difference(flipped_BTD.select(1, 0), plain_BTD.select(1, 0)) < 1e-5);
  CHECK(difference(flipped_BTD.select(1, 1), plain_BTD.select(1, 3)) < 1e-5);
  CHECK(difference(flipped_BTD.select(1, 4), plain_BTD.select(1, 6)) < 1e-5);
}

TEST_CASE("vit: patch_tokens() leave CLS out and end with the final norm") {
  ViT vit(kSmall, FinalNorm::kPatches);
  const auto images_BCHW = pictures(2);
  const auto patches_BND = vit->patch_tokens(images_BCHW);
  const auto expected_BND = torch::layer_norm(vit->tokens(images_BCHW).slice(1, 1), {12}, {}, {}, 1e-6);
  CHECK(difference(patches_BND, expected_BND) < 1e-5);
}

TEST_CASE("vit: each form has the tensors of its published files") {
  const auto has = [](const ViTOptions& options, FinalNorm norm, const std::string& name) {
    return state_dict(*ViT(options, norm)).contains(name);
  };
  CHECK(has(kSmall, FinalNorm::kPatches, "fc_norm.weight"));
  CHECK(!has(kSmall, FinalNorm::kPatches, "norm.weight"));
  CHECK(has(kSmall, FinalNorm::kTokens, "norm.weight"));
  CHECK(has(kSmall, FinalNorm::kTokens, "pos_embed"));
  ViTOptions shared = kSmall;
  shared.absolute_position = false;
  shared.relative_position = RelPos::kShared;
  CHECK(!has(shared, FinalNorm::kTokens, "pos_embed"));
  CHECK(has(shared, FinalNorm::kTokens, "rel_pos_bias.relative_position_bias_table"));
  CHECK(!has(shared, FinalNorm::kTokens, "blocks.0.attn.relative_position_bias_table"));
  ViTOptions block = kSmall;
  block.relative_position = RelPos::kBlock;
  CHECK(!has(block, FinalNorm::kTokens, "rel_pos_bias.relative_position_bias_table"));
  CHECK(has(block, FinalNorm::kTokens, "blocks.2.attn.relative_position_bias_table"));
}

TEST_CASE("vit: a shared table serves every block as each block's own copy would") {
  ViTOptions shared_options = kSmall, block_options = kSmall;
  shared_options.relative_position = RelPos::kShared;
  block_options.relative_position = RelPos::kBlock;
  ViT shared(shared_options, FinalNorm::kTokens), block(block_options, FinalNorm::kTokens);
  auto tensors = state_dict(*shared);
  torch::manual_seed(10);
  auto table_RH = tensors.at("rel_pos_bias.relative_position_bias_table");
  table_RH.normal_();
  for (const std::string number : {"0", "1", "2"}) {
    tensors["blocks." + number + ".attn.relative_position_bias_table"] = table_RH;
  }
  load_state_dict(*block, tensors);
  CHECK(difference(shared->tokens(pictures(2)), block->tokens(pictures(2))) < 1e-5);
}

TEST_CASE("vit: sizes that make no network are refused, and layers it does not have") {
  ViTOptions options = kSmall;
  options.depth = 0;
  CHECK_THROWS_WITH_AS(ViT(options, FinalNorm::kTokens), doctest::Contains("--depth"), Error);
  ViT vit(kSmall, FinalNorm::kTokens);
  for (const std::vector<int64_t>& layers : {std::vector<int64_t>{}, {0}, {4}, {2, 1}}) {
    CHECK_THROWS_WITH_AS(vit->layers(pictures(1), layers), doctest::Contains("--layer"), Error);
  }
}

}  // namespace
}  // namespace beit

// Shape letters: B images, N patches, T tokens, D width.
#include "core/vit.h"

#include "base/error.h"
#include "core/weights_regrid.h"
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

/// The network that stands at another grid with the weights of `vit`, resized.
ViT at_grid(const ViT& vit, const Grid& grid) {
  ViTOptions options = vit->options();
  auto tensors = state_dict(*vit);
  resize_to_grid(tensors, options.grid, grid);
  options.grid = grid;
  ViT other(options, FinalNorm::kTokens);
  load_state_dict_strict(*other, tensors, "resized");
  return other;
}

/// With positions that are not nothing.
ViT small_vit(RelPos relative_position, bool absolute_position) {
  torch::manual_seed(11);
  ViTOptions options = kSmall;
  options.relative_position = relative_position;
  options.absolute_position = absolute_position;
  ViT vit(options, FinalNorm::kTokens);
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : state_dict(*vit)) {
    if (name == "pos_embed" || name.ends_with("table")) tensor.normal_();
  }
  return vit;
}

TEST_CASE("vit: at another size it computes what a network of that size with its weights resized does") {
  for (const RelPos form : {RelPos::kNone, RelPos::kShared, RelPos::kBlock}) {
    for (const bool absolute : {false, true}) {
      ViT vit = small_vit(form, absolute);
      const auto own_BTD = vit->tokens(pictures(2));
      for (const Grid& grid : {Grid{4, 5}, Grid{3, 3}, Grid{5, 2}, Grid{1, 1}}) {
        CAPTURE(grid.rows);
        const auto images_BCHW = torch::randn({2, 3, 4 * grid.rows, 4 * grid.columns});
        CHECK(vit->grid(images_BCHW) == grid);
        CHECK(difference(vit->tokens(images_BCHW), at_grid(vit, grid)->tokens(images_BCHW)) < 1e-6);
      }
      CHECK(torch::equal(vit->tokens(pictures(2)), own_BTD));
    }
  }
}

TEST_CASE("vit: training at another size moves its own positions") {
  for (const RelPos form : {RelPos::kShared, RelPos::kBlock}) {
    ViT vit = small_vit(form, true);
    auto other = at_grid(vit, {4, 5});
    const auto images_BCHW = torch::randn({2, 3, 16, 20});
    vit->tokens(images_BCHW).square().sum().backward();
    other->tokens(images_BCHW).square().sum().backward();
    int compared = 0;
    for (const auto& parameter : vit->named_parameters()) {
      const auto& name = parameter.key();
      if (name != "pos_embed" && !name.ends_with("table")) continue;
      CAPTURE(name);
      // Along one direction: the slope here is that of the resized network along the resized direction.
      const auto direction = torch::randn_like(parameter.value());
      std::map<std::string, torch::Tensor> resized{{name, direction}};
      resize_to_grid(resized, kSmall.grid, {4, 5});
      const auto slope = (other->named_parameters()[name].grad() * resized.at(name)).sum();
      CHECK(relative_difference((parameter.value().grad() * direction).sum(), slope) < 1e-3);
      CHECK(slope.abs().item<double>() > 1e-3);
      ++compared;
    }
    CHECK(compared == (form == RelPos::kShared ? 2 : 4));
  }
}

TEST_CASE("vit: sizes may change from one pass to the next, more often than are remembered, and so may the weights") {
  ViT vit = small_vit(RelPos::kBlock, false);
  const torch::NoGradGuard no_grad;
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t rows = 1; rows <= 10; ++rows) {
      const auto images_BCHW = torch::randn({1, 3, 4 * rows, 8});
      CHECK(difference(vit->tokens(images_BCHW), at_grid(vit, {rows, 2})->tokens(images_BCHW)) < 1e-6);
    }
    state_dict(*vit).at("blocks.1.attn.relative_position_bias_table").normal_();
  }
  vit->to(torch::kFloat64);
  CHECK(vit->tokens(torch::randn({1, 3, 8, 8}, torch::kFloat64)).isfinite().all().item<bool>());
}

TEST_CASE("vit: each layer's attention is a distribution over the tokens, of its own input") {
  torch::manual_seed(5);
  ViT vit(kSmall, FinalNorm::kTokens);
  vit->eval();
  const auto images_BCHW = pictures(2);
  const auto both = vit->attention(images_BCHW, {1, 2}), second = vit->attention(images_BCHW, {2});
  REQUIRE(both.size() == 2);
  const int64_t tokens = kSmall.grid.patches() + 1;
  CHECK(both[0].sizes() == torch::IntArrayRef({2, kSmall.heads, tokens, tokens}));
  CHECK(difference(both[1].sum(-1), torch::ones({2, kSmall.heads, tokens})) < 1e-5);
  CHECK(torch::equal(both[1], second[0]));
  CHECK(!torch::equal(both[0], both[1]));
  CHECK_THROWS_WITH_AS(vit->attention(images_BCHW, {4}), doctest::Contains("--layer"), Error);
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

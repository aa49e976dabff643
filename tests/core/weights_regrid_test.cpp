// Shape letters: B images, R rows of a table, H heads.
#include "core/weights_regrid.h"

#include "base/error.h"
#include "core/bias_resize.h"
#include "core/regrid.h"
#include "core/tokenizer.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

using Tensors = std::map<std::string, torch::Tensor>;

const Grid kFrom{2, 3}, kTo{4, 4};

ViTOptions options(const Grid& grid, RelPos relative_position = RelPos::kNone) {
  return {.grid = grid, .patch_size = 2, .width = 12, .depth = 2, .heads = 3, .relative_position = relative_position};
}

TEST_CASE("weights regrid: a network of one grid is loaded into one of another, whatever its positions are") {
  for (const RelPos form : {RelPos::kNone, RelPos::kShared, RelPos::kBlock}) {
    auto tensors = state_dict(*ViT(options(kFrom, form), FinalNorm::kTokens));
    resize_to_grid(tensors, kFrom, kTo);
    ViT network(options(kTo, form), FinalNorm::kTokens);
    CHECK_NOTHROW(load_state_dict_strict(*network, tensors, "resized"));
    CHECK(network->tokens(torch::randn({1, 3, 8, 8})).isfinite().all().item<bool>());
  }
  const auto tokenizer_options = [](const Grid& grid) {
    return TokenizerOptions{.encoder = options(grid),
                            .decoder_width = 12,
                            .decoder_depth = 1,
                            .decoder_heads = 3,
                            .quantizer = {.codes = 8, .width = 4}};
  };
  auto tensors = state_dict(*Tokenizer(tokenizer_options(kFrom)));
  const auto before = tensors;
  resize_to_grid(tensors, kFrom, kTo);
  CHECK_NOTHROW(load_state_dict_strict(*Tokenizer(tokenizer_options(kTo)), tensors, "resized"));
  for (const std::string name : {"encoder.pos_embed", "decoder.pos_embed"}) {
    CHECK(torch::equal(tensors.at(name), resize_positions(before.at(name), kFrom, kTo)));
  }
}

TEST_CASE("weights regrid: only positions change, in the map and not in the tensors") {
  torch::manual_seed(34);
  Tensors tensors{{"pos_embed", torch::randn({1, 7, 5})},
                  {"a.relative_position_bias_table", torch::randn({18, 2})},
                  {"decoder_pos_embed", torch::randn({1, 7, 5})},
                  {"head.weight", torch::randn({18, 2})}};
  const auto before = tensors;
  auto copies = before;
  for (auto& [name, tensor] : copies) tensor = tensor.clone();
  resize_to_grid(tensors, kFrom, kFrom);
  for (const auto& [name, tensor] : tensors) CHECK(torch::equal(tensor, copies.at(name)));
  resize_to_grid(tensors, kFrom, kTo);
  for (const auto& [name, tensor] : before) CHECK(torch::equal(tensor, copies.at(name)));
  CHECK(tensors.at("decoder_pos_embed").is_same(before.at("decoder_pos_embed")));
  CHECK(tensors.at("head.weight").is_same(before.at("head.weight")));
  CHECK(tensors.at("pos_embed").size(1) == 17);
  CHECK(torch::equal(tensors.at("a.relative_position_bias_table"),
                     resize_bias_table(before.at("a.relative_position_bias_table"), kFrom, kTo)));
}

TEST_CASE("weights regrid: tensors of another grid are named, and the map is untouched") {
  Tensors tensors{{"encoder.pos_embed", torch::zeros({1, 7, 5})},
                  {"encoder.x.relative_position_bias_table", torch::zeros({19, 2})}};
  CHECK_THROWS_WITH_AS(resize_to_grid(tensors, kFrom, kTo),
                       doctest::Contains("encoder.x.relative_position_bias_table: relative position bias: expected a "
                                         "table [18, heads] for 2x3 patches, got [19, 2]"),
                       Error);
  CHECK(tensors.at("encoder.pos_embed").size(1) == 7);
  CHECK_THROWS_WITH_AS(resize_to_grid(tensors, {3, 3}, kTo), doctest::Contains("encoder.pos_embed: position"), Error);
}

TEST_CASE("weights regrid: a shared table becomes each block's own, and the network computes the same") {
  torch::manual_seed(35);
  ViT shared(options(kFrom, RelPos::kShared), FinalNorm::kTokens),
      block(options(kFrom, RelPos::kBlock), FinalNorm::kTokens);
  auto tensors = state_dict(*shared);
  tensors.at("rel_pos_bias.relative_position_bias_table").normal_();
  const auto images_BCHW = torch::randn({2, 3, 4, 6});
  const auto expected = shared->tokens(images_BCHW);
  copy_shared_bias_to_blocks(tensors, 2);
  for (const auto& [name, tensor] : tensors) CHECK(!name.starts_with("rel_pos_bias."));
  CHECK(!tensors.contains("blocks.2.attn.relative_position_bias_table"));
  load_state_dict_strict(*block, tensors, "copied");
  CHECK(difference(block->tokens(images_BCHW), expected) < 1e-5);
  const auto before = tensors;
  copy_shared_bias_to_blocks(tensors, 2);
  CHECK(tensors.size() == before.size());
  for (const auto& [name, tensor] : tensors) CHECK(tensor.is_same(before.at(name)));
}

}  // namespace
}  // namespace beit

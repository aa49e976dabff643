#include "train/network_file.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "core/rel_pos.h"
#include "tests/support.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

using Names = std::vector<std::string>;

/// Networks 64 wide, so that the width tells of a head.
const ViTOptions kWide{.grid = {4, 4}, .patch_size = 8, .width = 64, .depth = 3, .heads = 1};

ViTOptions relative(RelPos form, double layer_scale = 0.1) {
  ViTOptions vit = kWide;
  vit.heads = 2;
  vit.absolute_position = false;
  vit.relative_position = form;
  vit.layer_scale = layer_scale;
  return vit;
}

/// As torch.save({"model": ...}) nests it, without a configuration.
TensorFile published(const torch::nn::Module& module) {
  TensorFile file;
  for (const auto& [name, tensor] : state_dict(module)) file.tensors.emplace("model." + name, tensor.clone());
  return file;
}

TensorFile published_tokenizer(int64_t decoder_width = 64) {
  return published(*Tokenizer(TokenizerOptions{.encoder = kWide,
                                               .decoder_width = decoder_width,
                                               .decoder_depth = 2,
                                               .decoder_heads = decoder_width / 64,
                                               .quantizer = {.codes = 16, .width = 4, .kmeans_start = false},
                                               .target_width = 6}));
}

TEST_CASE("network file: a tokenizer's sizes come from its tensors, and what they cannot say is named") {
  const auto file = as_network(published_tokenizer(128), "f");
  CHECK((file.network == Network::kTokenizer));
  CHECK(file.model.width == 64);
  CHECK(file.model.depth == 3);
  CHECK(file.model.heads == 1);
  CHECK(file.model.patch_size == 8);
  CHECK(file.model.image_size == 32);
  CHECK(file.vit.absolute_position);
  CHECK((file.vit.relative_position == RelPos::kNone));
  CHECK(file.vit.layer_scale == 0);
  CHECK(file.codebook.codes == 16);
  CHECK(file.codebook.code_dim == 4);
  CHECK(file.codebook.decoder_depth == 2);
  CHECK(file.decoder_width == 128);
  CHECK(file.decoder_heads == 2);
  CHECK(file.target_width == 6);
  CHECK(file.assumed == Names{"1 head, the width over 64", "input form default (2x-1)"});
  CHECK(as_network(published_tokenizer(), "f", {.input_form = "imagenet_norm"}).codebook.input_form == "imagenet_norm");
  CHECK_THROWS_WITH_AS(as_network(published(*ViT(kWide, FinalNorm::kTokens)), "f", {.input_form = "default"}),
                       doctest::Contains("expected a tokenizer for --input-form, got a backbone"), Error);
}

TEST_CASE("network file: a tokenizer without counters of usage gets them, and says so") {
  auto file = published_tokenizer();
  for (const char* name : {"quantize.cluster_size", "quantize.embedding.initted"})
    file.tensors.erase("model." + std::string(name));
  const auto found = as_network(file, "f");
  CHECK(found.tensors.at("quantize.cluster_size").sizes() == torch::IntArrayRef({16}));
  CHECK(found.tensors.at("quantize.embedding.initted").item<float>() == 1);
  CHECK(found.assumed.back() == "quantize.embedding.initted, which the file lacks");
}

TEST_CASE("network file: a pre-trained model's form comes from its tensors") {
  for (const bool branch : {true, false}) {
    for (const bool shared : {true, false}) {
      const MaskedImageModel mim(MimOptions{.vit = relative(RelPos::kShared),
                                            .codes = 16,
                                            .cls_branch = branch,
                                            .early_layers = 2,
                                            .head_layers = 1,
                                            .shared_head = shared || !branch});
      const auto file = as_network(published(*mim), "f");
      CHECK((file.network == Network::kPretrained));
      CHECK(file.model.heads == 2);
      CHECK((file.vit.relative_position == RelPos::kShared));
      CHECK(!file.vit.absolute_position);
      CHECK(file.vit.layer_scale > 0);
      CHECK(file.vit.grid == Grid{4, 4});
      CHECK(file.codes == 16);
      CHECK(file.mim.cls_branch == branch);
      CHECK(file.mim.shared_head == (shared || !branch));
      if (branch) CHECK(file.mim.head_layers == 1);
      CHECK(file.assumed.size() == (branch ? 1 : 0));
    }
  }
}

TEST_CASE("network file: a classifier's classes and pooling come from its tensors") {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kCls}) {
    const Classifier classifier(
        ClassifierOptions{.vit = relative(RelPos::kBlock, 0), .classes = 5, .pooling = pooling});
    auto given = published(*classifier);
    given.tensors.emplace("model.mask_token", torch::ones({1, 1, 64}));
    const auto file = as_network(given, "f");
    CHECK((file.network == Network::kClassifier));
    CHECK(file.classes == 5);
    CHECK((file.pooling() == pooling));
    CHECK((file.vit.relative_position == RelPos::kBlock));
    CHECK(file.vit.layer_scale == 0);
    CHECK(file.left_out == Names{"relative_position_index, which follows from the grid (3 tensors)", "mask_token"});
  }
}

TEST_CASE("network file: networks without a head of ours are known, the segmentation's too") {
  const ViT vit(relative(RelPos::kBlock), FinalNorm::kTokens);
  CHECK((as_network(published(*vit), "f").network == Network::kBackbone));
  TensorFile segmenter;
  for (const auto& [name, tensor] : state_dict(*vit)) {
    if (!name.starts_with("norm.")) segmenter.tensors.emplace("state_dict.backbone." + name, tensor);
  }
  segmenter.tensors.emplace("state_dict.backbone.fpn1.0.weight", torch::ones({2}));
  segmenter.tensors.emplace("state_dict.decode_head.conv_seg.weight", torch::ones({2}));
  const auto found = as_network(segmenter, "f");
  CHECK((found.network == Network::kSegmenter));
  CHECK(found.model.depth == 3);
  CHECK(found.classes == 0);            // not of UPerNet
  CHECK(mismatches(found).complete());  // of its backbone
  CHECK(found.assumed.empty());

  CHECK((as_network({.tensors = {{"visual.class_embedding", torch::ones(2)}}}, "f").network == Network::kClip));
  CHECK((as_network({.tensors = {{"x", torch::ones(2)}}}, "f").network == Network::kUnknown));
  CHECK((as_network({.tensors = {}}, "f").network == Network::kUnknown));
}

TEST_CASE("network file: heads are the table's, else the configuration's, else the width over 64 or those published") {
  const auto heads = [](const TensorFile& file, int64_t wanted) {
    return as_network(file, "f", {.heads = wanted}).model.heads;
  };
  CHECK(heads(published(*ViT(relative(RelPos::kBlock), FinalNorm::kPatches)), 0) == 2);
  CHECK_THROWS_WITH_AS(heads(published(*ViT(relative(RelPos::kBlock), FinalNorm::kPatches)), 4),
                       doctest::Contains("expected the file's 2 heads, got --heads 4"), Error);
  CHECK(heads(published_tokenizer(), 4) == 4);
  ViTOptions narrow = kWide;
  narrow.width = 48;
  const auto small = published(*ViT(narrow, FinalNorm::kPatches));
  CHECK_THROWS_WITH_AS(heads(small, 0), doctest::Contains("set --heads"), Error);
  CHECK_THROWS_WITH_AS(heads(small, 5), doctest::Contains("expected heads that divide the width"), Error);
  CHECK(heads(small, 3) == 3);
  narrow.width = 544;
  narrow.heads = 16;
  narrow.depth = 1;
  CHECK(heads(published(*ViT(narrow, FinalNorm::kPatches)), 0) == 16);
}

TEST_CASE("network file: another library's config.json tells heads and image size where the tensors do not") {
  auto file = published_tokenizer();
  file.metadata["config.json"] = R"({"model_type": "beit", "num_attention_heads": 4, "image_size": 32})";
  CHECK(as_network(file, "f").model.heads == 4);
  CHECK_THROWS_WITH_AS(as_network(file, "f", {.heads = 2}), doctest::Contains("expected the file's 4 heads"), Error);
  ViTOptions vit = kWide;
  vit.absolute_position = false;
  auto nowhere = published(*ViT(vit, FinalNorm::kTokens));
  CHECK(as_network(nowhere, "f").model.image_size == 224);
  nowhere.metadata["config.json"] = R"({"model_args": {"num_heads": 8, "img_size": [48, 48]}})";
  CHECK(as_network(nowhere, "f").model.heads == 8);
  CHECK(as_network(nowhere, "f").model.image_size == 48);
  nowhere.metadata["config.json"] = R"({"hidden_act": "gelu", "layer_norm_eps": 1e-12})";
  CHECK(as_network(nowhere, "f").model.heads == 1);
  nowhere.metadata["config.json"] = R"({"hidden_size": 64, "num_hidden_layers": 7})";
  CHECK_THROWS_WITH_AS(as_network(nowhere, "f"), doctest::Contains("f: expected tensors of the depth"), Error);
  auto tabled = published(*ViT(relative(RelPos::kBlock), FinalNorm::kPatches));
  tabled.metadata["config.json"] = R"({"num_attention_heads": 4})";
  CHECK_THROWS_WITH_AS(as_network(tabled, "f"), doctest::Contains("f: expected tensors of the heads"), Error);
  for (const char* text : {"", "[]", "{", R"({"model_args": 3})", R"({"num_heads": "many"})", R"({"num_heads": -1})",
                           R"({"hidden_act": "relu"})", R"({"layer_norm_eps": 0.01})"}) {
    CAPTURE(text);
    nowhere.metadata["config.json"] = text;
    CHECK_THROWS_WITH_AS(as_network(nowhere, "f"), doctest::Contains("f: config.json: expected"), Error);
  }
}

TEST_CASE("network file: no small file makes a large network") {
  auto file = published_tokenizer();
  const int64_t wide = 1 << 16;
  file.tensors["model.encoder.patch_embed.proj.weight"] = torch::zeros({wide, 3, 1, 1});
  CHECK_THROWS_WITH_AS(as_network(file, "f.pth"),
                       doctest::Contains("blocks.0.attn.qkv.weight: expected [196608, 65536]"), Error);
  file = published_tokenizer();
  file.tensors["model.decoder.blocks.7.norm1.weight"] = torch::zeros({64});
  CHECK_THROWS_WITH_AS(as_network(file, "f.pth"), doctest::Contains("expected tensor decoder.blocks.2.attn.qkv.weight"),
                       Error);
  file = published(*MaskedImageModel(MimOptions{.vit = relative(RelPos::kShared), .codes = 16, .early_layers = 2}));
  file.tensors["model.lm_head.weight"] = torch::zeros({1 << 24, 1}, torch::kInt8);
  CHECK_THROWS_WITH_AS(as_network(file, "f.pth"), doctest::Contains("lm_head.weight: expected [16777216, 64]"), Error);
  file = published_tokenizer();
  const auto one = torch::zeros({1 << 24});
  for (int i = 0; i < 8; ++i) file.tensors[fmt::format("model.decoder.more{}", i)] = one;
  CHECK_THROWS_WITH_AS(as_network(file, "f.pth"), doctest::Contains("expected tensors of their own"), Error);
  file = published(*Classifier(ClassifierOptions{.vit = relative(RelPos::kBlock)}));
  file.tensors["model.blocks.0.attn.relative_position_bias_table"] = torch::zeros({511 * 511 + 3, 1});
  CHECK_THROWS_WITH_AS(as_network(file, "f.pth"), doctest::Contains("a square grid of up to 64 x 64 patches"), Error);
}

TEST_CASE("network file: positions are resized to another image size, which must hold whole patches") {
  const auto file = as_network(published_tokenizer(), "f", {.image_size = 48});
  CHECK(file.model.image_size == 48);
  CHECK(file.vit.grid == Grid{6, 6});
  CHECK(file.tensors.at("encoder.pos_embed").size(1) == 37);
  CHECK(file.tensors.at("decoder.pos_embed").size(1) == 37);
  const auto classifier = published(*Classifier(ClassifierOptions{.vit = relative(RelPos::kBlock)}));
  CHECK(as_network(classifier, "f", {.image_size = 48})
            .tensors.at("blocks.2.attn.relative_position_bias_table")
            .size(0) == bias_table_rows({6, 6}));
  CHECK_THROWS_WITH_AS(as_network(classifier, "f", {.image_size = 49}), doctest::Contains("multiple of the patch size"),
                       Error);
}

TEST_CASE("network file: a checkpoint of DINO's training is its teacher's network") {
  TensorFile file;
  for (const std::string side : {"teacher.", "student."}) {
    for (const char* name : {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"}) {
      file.tensors.emplace(side + "backbone." + name, torch::ones({2}));
    }
  }
  CHECK((as_network(file, "f").network == Network::kDino));
}

TEST_CASE("network file: what the file tells is not overridden") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  write_small_tokenizer(path);
  CHECK_NOTHROW(open_network(path, {.input_form = "default"}));
  CHECK_THROWS_WITH_AS(open_network(path, {.input_form = "imagenet_norm"}),
                       doctest::Contains("expected the file's input form"), Error);
  CHECK_THROWS_WITH_AS(open_network(path, {.heads = 4}), doctest::Contains("expected the file's 2 heads"), Error);
}

TEST_CASE("network file: parts that are missing or contradict one another are named with the file") {
  const auto without = [](const char* name) {
    auto file = published_tokenizer();
    file.tensors.erase("model." + std::string(name));
    return file;
  };
  CHECK_THROWS_WITH_AS(as_network(without("decode_task_layer.2.weight"), "f.pth"),
                       doctest::Contains("f.pth: expected tensor decode_task_layer.2.weight"), Error);
  CHECK_THROWS_WITH_AS(as_network(without("encoder.blocks.0.mlp.fc1.weight"), "f.pth"),
                       doctest::Contains("expected tensor blocks.0.mlp.fc1.weight"), Error);
  auto oblong = published_tokenizer();
  oblong.tensors["model.encoder.pos_embed"] = torch::ones({1, 13, 64});
  CHECK_THROWS_WITH_AS(as_network(oblong, "f.pth"), doctest::Contains("64 patches, got 13 rows"), Error);
  auto grey = published_tokenizer();
  grey.tensors["model.encoder.patch_embed.proj.weight"] = torch::ones({64, 1, 8, 8});
  CHECK_THROWS_WITH_AS(as_network(grey, "f.pth"), doctest::Contains("expected square patches of 3 channels"), Error);
}

}  // namespace
}  // namespace beit

#include "io/name_map.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace beit {
namespace {

using Names = std::vector<std::string>;

Names names_of(const TensorMap& tensors) {
  Names names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

TensorMap ones(const Names& names) {
  TensorMap tensors;
  for (const std::string& name : names) tensors.emplace(name, torch::ones({2}));
  return tensors;
}

bool equal(const TensorMap& left, const TensorMap& right) {
  return std::ranges::equal(
      left, right, [](const auto& a, const auto& b) { return a.first == b.first && torch::equal(a.second, b.second); });
}

/// A network of two blocks with everything that Hugging Face's form has a place for.
TensorMap small_network() {
  torch::manual_seed(5);
  TensorMap tensors;
  const auto add = [&](const std::string& name, torch::IntArrayRef sizes) {
    tensors.emplace(name, torch::randn(sizes));
  };
  add("cls_token", {1, 1, 4});
  add("mask_token", {1, 1, 4});
  add("pos_embed", {1, 5, 4});
  add("patch_embed.proj.weight", {4, 3, 2, 2});
  add("patch_embed.proj.bias", {4});
  add("rel_pos_bias.relative_position_bias_table", {12, 2});
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const char* part : {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "gamma_1", "gamma_2",
                             "attn.q_bias", "attn.v_bias", "attn.proj.bias", "mlp.fc2.bias"}) {
      add(block + part, {4});
    }
    add(block + "attn.relative_position_bias_table", {12, 2});
    add(block + "attn.qkv.weight", {12, 4});
    add(block + "attn.proj.weight", {4, 4});
    add(block + "mlp.fc1.weight", {16, 4});
    add(block + "mlp.fc1.bias", {16});
    add(block + "mlp.fc2.weight", {4, 16});
  }
  for (const char* norm : {"norm.", "fc_norm."}) {
    add(norm + std::string("weight"), {4});
    add(norm + std::string("bias"), {4});
  }
  add("lm_head.weight", {8, 4});
  add("lm_head.bias", {8});
  add("head.weight", {3, 4});
  add("head.bias", {3});
  return tensors;
}

TEST_CASE("name map: the network is found under what files nest it in, and the rest is named") {
  const auto flat = ones({"cls_token", "blocks.0.norm1.weight"});
  for (const std::string container : {"", "model.", "module.", "state_dict.", "model.module.", "state_dict.module."}) {
    CAPTURE(container);
    TensorFile file;
    for (const auto& [name, tensor] : flat) {
      file.tensors.emplace(container + name, tensor);
      file.order.insert(file.order.begin(), container + name);
    }
    if (!container.empty()) {
      file.tensors.emplace("optimizer.state.0.exp_avg", torch::ones({2}));
      file.tensors.emplace("optimizer.state.0.exp_avg_sq", torch::ones({2}));
      file.tensors.emplace("model_ema", torch::ones({2}));
      file.order.push_back("optimizer.state.0.exp_avg");
    }
    const auto found = reference_names(file, "f");
    CHECK(names_of(found.tensors) == names_of(flat));
    CHECK(found.order == Names{"cls_token", "blocks.0.norm1.weight"});
    CHECK(found.left_out == (container.empty() ? Names{} : Names{"model_ema", "optimizer.* (2 tensors)"}));
  }
}

TEST_CASE("name map: of teacher and student the teacher is meant; a teacher alone is a part of a tokenizer") {
  const TensorFile both{.tensors = ones({"teacher.backbone.cls_token", "student.backbone.cls_token"})};
  CHECK(names_of(reference_names(both, "f").tensors) == Names{"backbone.cls_token"});
  const TensorFile tokenizer{.tensors = ones({"teacher_model.x", "teacher.visual.proj", "scaling_layer.scale",
                                              "quantize.embedding.weight", "encoder.cls_token"})};
  const auto found = reference_names(tokenizer, "f");
  CHECK(names_of(found.tensors) == Names{"encoder.cls_token", "quantize.embedding.weight"});
  CHECK(found.left_out == Names{"scaling_layer.*", "teacher.*", "teacher_model.*"});
}

TEST_CASE("name map: buffers that follow from the grid are left out") {
  const TensorFile file{.tensors =
                            ones({"rel_pos_bias.relative_position_index", "blocks.0.attn.relative_position_index",
                                  "blocks.0.attn.relative_position_bias_table"})};
  const auto found = reference_names(file, "f");
  CHECK(names_of(found.tensors) == Names{"blocks.0.attn.relative_position_bias_table"});
  CHECK(found.left_out == Names{"relative_position_index, which follows from the grid (2 tensors)"});
}

TEST_CASE("name map: to Hugging Face's names and back every tensor is what it was") {
  auto tensors = small_network();
  for (const std::string norm : {"layernorm.", "beit.layernorm."}) {
    for (const std::string model : {"", "beit."}) {
      const auto theirs = hugging_face_names(tensors, model, norm);
      CHECK(theirs.size() == tensors.size() + 4);
      CHECK(theirs.contains(model + "encoder.layer.1.attention.attention.key.weight"));
      CHECK(theirs.contains(norm + "weight"));
      const auto back = reference_names({.tensors = theirs}, "f");
      CHECK(equal(back.tensors, tensors));
      CHECK(back.form == "Hugging Face's BEiT");
    }
  }
  CHECK(torch::equal(
      hugging_face_names(tensors, "beit.", "layernorm.").at("beit.encoder.layer.0.attention.attention.value.weight"),
      tensors.at("blocks.0.attn.qkv.weight").slice(0, 8)));
  tensors.emplace("cls_pt_layers.0.norm1.weight", torch::ones({4}));
  CHECK_THROWS_WITH_AS(hugging_face_names(tensors, "beit.", "layernorm."),
                       doctest::Contains("cls_pt_layers.0.norm1.weight"), Error);
}

TEST_CASE("name map: two norms, or a query without its key, are refused") {
  auto theirs = hugging_face_names(small_network(), "beit.", "layernorm.");
  theirs.erase("beit.encoder.layer.1.attention.attention.key.weight");
  CHECK_THROWS_WITH_AS(reference_names({.tensors = theirs}, "f.safetensors"),
                       doctest::Contains("f.safetensors: \"blocks.1.attn.qkv.weight\": expected query, key and value"),
                       Error);
  theirs = hugging_face_names(small_network(), "beit.", "layernorm.");
  theirs.emplace("beit.layernorm.weight", torch::ones({4}));
  CHECK_THROWS_WITH_AS(reference_names({.tensors = theirs}, "f.safetensors"),
                       doctest::Contains("expected one final norm"), Error);
}

TEST_CASE("name map: a network twice in a file is refused; containers are opened to a limit") {
  auto theirs = hugging_face_names(small_network(), "beit.", "layernorm.");
  theirs.emplace("embeddings.cls_token", torch::ones({1, 1, 4}));
  CHECK_THROWS_WITH_AS(reference_names({.tensors = theirs}, "f"), doctest::Contains("f: expected each tensor once"),
                       Error);
  std::string deep = "x";
  for (int i = 0; i < 12; ++i) deep.insert(0, "model.");
  CHECK(names_of(reference_names({.tensors = ones({deep})}, "f").tensors) == Names{"model.model.model.model.x"});
}

TEST_CASE("name map: ViT and DINO of Hugging Face are not taken for BEiT, and its segmentation's heads are left out") {
  auto theirs = hugging_face_names(small_network(), "", "layernorm.");
  theirs.emplace("decode_head.conv.weight", torch::ones({4}));
  theirs.emplace("fpn1.0.weight", torch::ones({4}));
  CHECK(reference_names({.tensors = theirs}, "f").left_out == Names{"decode_head.*", "fpn1.*"});
  theirs.emplace("encoder.layer.0.attention.attention.key.bias", torch::ones({4}));
  CHECK(names_of(reference_names({.tensors = theirs}, "f").tensors) == names_of(theirs));
}

TEST_CASE("name map: Hugging Face's CLIP becomes OpenAI's image tower, with or without its prefix and text tower") {
  torch::manual_seed(6);
  const auto projection = torch::randn({3, 4});
  for (const std::string prefix : {"vision_model.", ""}) {
    CAPTURE(prefix);
    TensorMap theirs{{"visual_projection.weight", projection}};
    const auto add = [&](const std::string& name, torch::IntArrayRef sizes) {
      theirs.emplace(prefix + name, torch::randn(sizes));
    };
    add("embeddings.class_embedding", {4});
    add("embeddings.patch_embedding.weight", {4, 3, 2, 2});
    add("embeddings.position_embedding.weight", {5, 4});
    add("pre_layrnorm.weight", {4});
    add("post_layernorm.bias", {4});
    for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
      add(fmt::format("encoder.layers.0.self_attn.{}.weight", part), {4, 4});
      add(fmt::format("encoder.layers.0.self_attn.{}.bias", part), {4});
    }
    add("encoder.layers.0.self_attn.out_proj.weight", {4, 4});
    add("encoder.layers.0.layer_norm1.weight", {4});
    add("encoder.layers.0.mlp.fc1.weight", {16, 4});
    add("encoder.layers.0.mlp.fc2.bias", {4});
    if (!prefix.empty()) theirs.emplace("text_model.embeddings.token_embedding.weight", torch::ones({4}));
    const auto found = reference_names({.tensors = theirs}, "f");
    const std::string block = "visual.transformer.resblocks.0.";
    CHECK(names_of(found.tensors) == Names{"visual.class_embedding", "visual.conv1.weight", "visual.ln_post.bias",
                                           "visual.ln_pre.weight", "visual.positional_embedding", "visual.proj",
                                           block + "attn.in_proj_bias", block + "attn.in_proj_weight",
                                           block + "attn.out_proj.weight", block + "ln_1.weight",
                                           block + "mlp.c_fc.weight", block + "mlp.c_proj.bias"});
    CHECK(torch::equal(found.tensors.at("visual.proj"), projection.t()));
    CHECK(torch::equal(found.tensors.at(block + "attn.in_proj_weight").slice(0, 4, 8),
                       theirs.at(prefix + "encoder.layers.0.self_attn.k_proj.weight")));
    CHECK(found.left_out == (prefix.empty() ? Names{} : Names{"text_model.*"}));
  }
}

}  // namespace
}  // namespace beit

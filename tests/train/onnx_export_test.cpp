// Shape letters: B images, D width.
#include "train/onnx_export.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "core/normalise.h"
#include "core/probe.h"
#include "io/safetensors.h"
#include "tests/core/golden.h"
#include "tests/support.h"
#include "tests/train/onnx_model.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-5;

/// Moves every parameter off what it starts at, so that an error in any shows.
template <class Network>
void move_off(Network& network) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : network->parameters()) parameter.add_(torch::randn_like(parameter) * 0.1);
  network->eval();
}

ViTOptions small_vit(RelPos relative, bool absolute, double layer_scale, const Grid& grid = {4, 4}) {
  return {.grid = grid,
          .patch_size = 8,
          .width = 32,
          .depth = 3,
          .heads = 4,
          .layer_scale = layer_scale,
          .absolute_position = absolute,
          .relative_position = relative};
}

LoadedClassifier small_classifier(const ViTOptions& vit, Pooling pooling) {
  Classifier model(ClassifierOptions{.vit = vit, .classes = 5, .pooling = pooling, .head_scale = 1});
  move_off(model);
  return {.model = model, .options = {}, .classes = 5, .class_names = {"a", "b", "c", "d", "\"e\""}};
}

LoadedBackbone small_backbone(const ViTOptions& vit, FinalNorm final_norm) {
  LoadedBackbone backbone{.model = ViT(vit, final_norm), .options = {}};
  move_off(backbone.model);
  return backbone;
}

LoadedTokenizer small_tokenizer(InputForm input, const Grid& grid) {
  TokenizerOptions options{.encoder = small_vit(RelPos::kNone, true, 0, grid),
                           .decoder_width = 32,
                           .decoder_depth = 1,
                           .decoder_heads = 4,
                           .quantizer = {.codes = 64, .width = 8, .kmeans_start = false},
                           .target_width = 6,
                           .input = input};
  Tokenizer model(options);
  move_off(model);  // the codes are of several lengths then
  return {.model = model, .options = {}, .codebook = {}};
}

torch::Tensor images_of(const ViTOptions& vit) {
  return torch::rand({3, 3, vit.grid.rows * vit.patch_size, vit.grid.columns * vit.patch_size});
}

/// Writes the graph and compares what it gives with `expected`, on one image too. With BEIT_ONNX in the environment
/// (tests/python/onnx_files.py) file, input and results go into a folder of this name there.
void check(const std::string& name, const OnnxGraph& graph, const torch::Tensor& images_BCHW,
           const TensorMap& expected) {
  CAPTURE(name);
  const TemporaryFolder temporary;
  const char* wanted = std::getenv("BEIT_ONNX");
  const fs::path folder = (wanted != nullptr ? fs::path(wanted) : temporary.path) / name;
  fs::create_directories(folder);
  graph.write(folder / "model.onnx");
  TensorMap results{{"images", images_BCHW}};
  results.insert(expected.begin(), expected.end());
  write_safetensors(folder / "expected.safetensors", results);

  const OnnxModel model(folder / "model.onnx");
  for (const int64_t images : {images_BCHW.size(0), int64_t{1}}) {
    const auto got = model.run(images_BCHW.slice(0, 0, images));
    CHECK(got.size() == expected.size());
    for (const auto& [output, values] : expected) {
      CAPTURE(output);
      REQUIRE(got.contains(output));
      if (values.is_floating_point()) {
        CHECK(relative_difference(got.at(output), values.slice(0, 0, images)) < kTolerance);
      } else {
        CHECK(torch::equal(got.at(output), values.slice(0, 0, images)));
      }
    }
  }
}

TEST_CASE("onnx export: a classifier of every kind gives its logits, and their softmax where asked for") {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(21);
  const std::map<std::string, ViTOptions> kinds{
      {"block_bias", small_vit(RelPos::kBlock, false, 0.1)},
      {"shared_bias", small_vit(RelPos::kShared, false, 0.1)},
      {"absolute", small_vit(RelPos::kNone, true, 0)},
      {"no_positions", small_vit(RelPos::kNone, false, 0)},
      {"rectangle", small_vit(RelPos::kBlock, true, 0.1, {2, 5})},
  };
  for (const auto& [kind, vit] : kinds) {
    for (const Pooling pooling : {Pooling::kMean, Pooling::kCls}) {
      LoadedClassifier classifier = small_classifier(vit, pooling);
      const auto images_BCHW = images_of(vit);
      const auto logits_BK = classifier.model->forward(normalise(images_BCHW, InputForm::kImagenetNorm));
      const std::string name = fmt::format("{}_{}", kind, pooling == Pooling::kMean ? "mean" : "cls");
      check(name, onnx_classifier(classifier, /*probabilities=*/false), images_BCHW, {{"logits", logits_BK}});
      check(name + "_softmax", onnx_classifier(classifier, /*probabilities=*/true), images_BCHW,
            {{"probabilities", logits_BK.softmax(1)}});
    }
  }
}

TEST_CASE("onnx export: a backbone gives the features of any layers and poolings, with and without its last norm") {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(22);
  for (const FinalNorm end : {FinalNorm::kTokens, FinalNorm::kPatches}) {
    for (const bool final_norm : {false, true}) {
      const ViTOptions vit = small_vit(RelPos::kShared, false, 0.1);
      LoadedBackbone backbone = small_backbone(vit, end);
      const auto images_BCHW = images_of(vit);
      auto tokens = backbone.model->layers(normalise(images_BCHW, backbone.input), {1, 3});
      const auto children = backbone.model->named_children();
      if (final_norm) {
        auto& norm = *children[end == FinalNorm::kTokens ? "norm" : "fc_norm"]->as<torch::nn::LayerNormImpl>();
        tokens[1] = norm.forward(tokens[1]);
      }
      std::vector<FeatureSet> sets;
      TensorMap expected;
      for (const size_t place : {size_t{0}, size_t{1}}) {
        const int64_t layer = place == 0 ? 1 : 3;
        for (const std::string pooling : {"both", "mean", "cls", "tokens", "patches"}) {
          sets.push_back({layer, pooling});
          expected[sets.back().name()] = pooling == "tokens"    ? tokens[place]
                                         : pooling == "patches" ? tokens[place].slice(1, 1)
                                                                : pool(tokens[place], feature_pooling(pooling));
        }
      }
      const std::string name =
          fmt::format("features_{}_{}", end == FinalNorm::kTokens ? "norm" : "fc_norm", final_norm ? "normed" : "bare");
      check(name, onnx_features(backbone, sets, final_norm), images_BCHW, expected);
    }
  }
}

TEST_CASE("onnx export: features of an early layer alone leave the later blocks out") {
  torch::manual_seed(23);
  const LoadedBackbone backbone = small_backbone(small_vit(RelPos::kBlock, false, 0.1), FinalNorm::kTokens);
  const OnnxGraph graph = onnx_features(backbone, {{1, "mean"}}, /*final_norm=*/true);
  LoadedBackbone without = backbone;
  without.has_norm = false;
  CHECK_THROWS_WITH_AS(onnx_features(without, {{1, "mean"}}, /*final_norm=*/true),
                       doctest::Contains("expected a network that has a last norm"), Error);
  CHECK(graph.has("blocks.0.attn.proj.weight"));
  CHECK(!graph.has("blocks.1.attn.proj.weight"));
  CHECK(!graph.has("norm.weight"));
  CHECK_THROWS_WITH_AS(onnx_features(backbone, {{4, "mean"}}, false),
                       "onnx: expected features of layers between 1 and 3", Error);
}

TEST_CASE("onnx export: a tokenizer gives its codes") {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(24);
  for (const InputForm input : {InputForm::kDefault, InputForm::kImagenetNorm}) {
    for (const Grid& grid : {Grid{4, 4}, Grid{2, 5}}) {
      LoadedTokenizer tokenizer = small_tokenizer(input, grid);
      const auto images_BCHW = images_of(tokenizer.model->options().encoder);
      const auto codes_BN = tokenizer.model->codes(images_BCHW);
      CHECK(std::get<0>(at::_unique(codes_BN)).numel() > 4);
      const std::string name =
          fmt::format("codes_{}_{}x{}", input == InputForm::kDefault ? "default" : "imagenet", grid.rows, grid.columns);
      check(name, onnx_codes(tokenizer), images_BCHW, {{"codes", codes_BN}});
    }
  }
}

TEST_CASE("onnx export: of codes that are equally near the first is taken") {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(25);
  LoadedTokenizer tokenizer = small_tokenizer(InputForm::kDefault, {4, 4});
  auto codes_KC = tokenizer.model->quantizer()->codebook().clone();
  codes_KC.slice(0, 32).copy_(codes_KC.slice(0, 0, 32));
  tokenizer.model->quantizer()->set_codebook(codes_KC);
  const auto images_BCHW = images_of(tokenizer.model->options().encoder);
  const auto codes_BN = tokenizer.model->codes(images_BCHW);
  CHECK(codes_BN.max().item<int64_t>() < 32);
  check("codes_ties", onnx_codes(tokenizer), images_BCHW, {{"codes", codes_BN}});
}

TEST_CASE("onnx export: a network for another image size than its file's is that of its forward pass") {
  const torch::NoGradGuard no_grad;
  const TemporaryFolder folder;
  write_small_pretrained(folder.path / "mim.safetensors");
  LoadedBackbone backbone = load_backbone(folder.path / "mim.safetensors", {.image_size = 48});
  const auto images_BCHW = torch::rand({2, 3, 48, 48});
  const auto tokens_BTD = backbone.model->tokens(normalise(images_BCHW, backbone.input));
  check("resized", onnx_features(backbone, {{2, "tokens"}}, false), images_BCHW, {{"layer2.tokens", tokens_BTD}});
}

TEST_CASE("onnx export: the metadata name grid and classes") {
  const TemporaryFolder folder;
  torch::manual_seed(26);
  onnx_classifier(small_classifier(small_vit(RelPos::kBlock, false, 0.1, {2, 5}), Pooling::kMean), false)
      .write(folder.path / "model.onnx");
  const OnnxModel model(folder.path / "model.onnx");
  CHECK(model.metadata("grid") == "2x5");
  CHECK(model.metadata("classes") == R"(["a","b","c","d","\"e\""])");
}

}  // namespace
}  // namespace beit

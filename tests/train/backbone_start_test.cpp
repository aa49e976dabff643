#include "train/backbone_start.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "core/classifier.h"
#include "core/normalise.h"
#include "tests/support.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

constexpr double kTight = 1e-5;

/// A network with a backbone behind a name, as one for segmentation has.
struct WithBackbone : torch::nn::Module {
  explicit WithBackbone(const ViTOptions& vit)
      : backbone(register_module("backbone", ViT(vit, FinalNorm::kTokens))),
        head(register_module("head", torch::nn::Linear(vit.width, 3))) {}
  ViT backbone;
  torch::nn::Linear head;
};

Classifier started(const std::filesystem::path& path, Pooling pooling,
                   ModelOptions model = {.model = "", .image_size = 0}) {
  const BackboneStart start = open_start({.weights = path.string()}, model);
  torch::manual_seed(4);
  Classifier network(ClassifierOptions{.vit = start.vit, .classes = 3, .pooling = pooling});
  start_from(*network, "", *start.file);
  network->eval();
  return network;
}

double apart(const torch::Tensor& a, const torch::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST_CASE("backbone_start: a pre-trained backbone gives the tokens that it gave, its shared table in each block") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  MaskedImageModel mim = write_small_pretrained(path);
  {  // a table of zeros would not tell
    const torch::NoGradGuard no_grad;
    mim->named_parameters()["rel_pos_bias.relative_position_bias_table"].normal_();
    mim->named_parameters()["norm.weight"].uniform_();
    TensorMap tensors = state_dict(*mim);
    write_safetensors(path, tensors, read_safetensors(path).metadata);
  }
  const torch::NoGradGuard no_grad;
  const auto images = torch::rand({2, 3, 32, 32});
  for (const Pooling pooling : {Pooling::kMean, Pooling::kCls}) {
    Classifier network = started(path, pooling);
    CHECK(network->options().layer_scale > 0);
    CHECK(apart(network->tokens(images), mim->tokens(images)) < kTight);
    const auto own = state_dict(*network), its = state_dict(*mim);
    for (const char* block : {"blocks.0", "blocks.1"}) {
      CHECK(torch::equal(own.at(std::string(block) + ".attn.relative_position_bias_table"),
                         its.at("rel_pos_bias.relative_position_bias_table")));
    }
    if (pooling == Pooling::kCls) {
      CHECK(torch::equal(own.at("norm.weight"), its.at("norm.weight")));
    } else {
      CHECK(torch::equal(own.at("fc_norm.weight"), torch::ones({16})));
    }
  }
}

TEST_CASE("backbone_start: a network with a prefix is filled behind it, and nothing else of it changes") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  MaskedImageModel mim = write_small_pretrained(path);
  ModelOptions model{.model = "", .image_size = 0, .drop_path = 0.15};
  const BackboneStart start = open_start({.weights = path.string()}, model);
  CHECK(model.width == 16);
  CHECK(model.image_size == 32);
  CHECK(start.vit.drop_path == 0.15);
  WithBackbone network(start.vit);
  const auto head = network.head->weight.detach().clone();
  start_from(network, "backbone.", *start.file);
  network.eval();
  const torch::NoGradGuard no_grad;
  const auto images = torch::rand({2, 3, 32, 32});
  CHECK(apart(network.backbone->tokens(images), mim->tokens(images)) < kTight);
  CHECK(torch::equal(network.head->weight, head));
}

TEST_CASE("backbone_start: a tokenizer's encoder sees standardised images as it saw 2 x - 1") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  write_small_tokenizer(path);
  Classifier network = started(path, Pooling::kMean);
  LoadedBackbone encoder = load_backbone(path);
  const torch::NoGradGuard no_grad;
  const auto images = torch::rand({2, 3, 32, 32});
  CHECK(apart(network->tokens(normalise(images, InputForm::kImagenetNorm)), encoder.model->tokens(images * 2 - 1)) <
        kTight);
  CHECK(network->options().layer_scale == 0);
  CHECK(network->options().absolute_position);
}

TEST_CASE("backbone_start: another image size resizes the tables as the file would be resized") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  write_small_pretrained(path);
  Classifier network = started(path, Pooling::kMean, {.model = "", .image_size = 64});
  CHECK(network->options().grid == Grid{8, 8});
  LoadedBackbone resized = load_backbone(path, {.image_size = 64});
  const torch::NoGradGuard no_grad;
  const auto images = torch::rand({1, 3, 64, 64});
  CHECK(apart(network->tokens(images), resized.model->tokens(images)) < kTight);
}

TEST_CASE("backbone_start: without weights the sizes are the named ones, with tables in the blocks and layer scale") {
  ModelOptions model{.model = "", .width = 32, .depth = 2, .heads = 2};
  const BackboneStart start = open_start({.layer_scale = 1e-5}, model);
  CHECK(!start.file);
  CHECK(model.model == "base");
  CHECK(model.image_size == 224);
  CHECK(start.vit.width == 32);
  CHECK(start.vit.layer_scale == 1e-5);
  CHECK(start.vit.relative_position == RelPos::kBlock);
  CHECK(!start.vit.absolute_position);
}

TEST_CASE("backbone_start: other sizes than the file's, other files and incomplete ones are refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors", foreign = folder.path / "foreign.safetensors";
  write_small_pretrained(path);
  const auto opened = [&](ModelOptions model) { return open_start({.weights = path.string()}, model); };
  CHECK_THROWS_WITH_AS(opened({.model = "large"}), doctest::Contains("expected its width of 16, got 1024"), Error);
  CHECK_THROWS_WITH_AS(opened({.model = "", .depth = 3, .image_size = 0}), doctest::Contains("leave out --depth"),
                       Error);
  CHECK_THROWS_WITH_AS(opened({.model = "", .heads = 4}), doctest::Contains("--heads 4"), Error);
  CHECK_THROWS_WITH_AS(opened({.model = "", .patch_size = 16}), doctest::Contains("leave out --patch-size"), Error);
  CHECK_THROWS_WITH_AS(opened({.model = "", .image_size = 33}), doctest::Contains("multiple of the patch size"), Error);
  CHECK(opened({.model = "base", .width = 16, .depth = 2, .heads = 2, .image_size = 32, .patch_size = 8}).file);

  write_safetensors(foreign, {{"x", torch::ones({2})}});
  ModelOptions model{.model = ""};
  CHECK_THROWS_WITH_AS(open_start({.weights = foreign.string()}, model), doctest::Contains("with a backbone"), Error);

  TensorFile file = read_safetensors(path);
  file.tensors.erase("blocks.1.norm2.bias");
  const NetworkFile damaged = as_network(file, "damaged");
  Classifier network(ClassifierOptions{.vit = opened({.model = "", .image_size = 0}).vit, .classes = 3});
  CHECK_THROWS_WITH_AS(start_from(*network, "", damaged), doctest::Contains("blocks.1.norm2.bias is missing"), Error);
}

}  // namespace
}  // namespace beit

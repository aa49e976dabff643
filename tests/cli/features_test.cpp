#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/normalise.h"
#include "core/probe.h"
#include "data/augment.h"
#include "data/image.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;

/// Five images of two classes, and a pre-trained network of two blocks.
struct Folder {
  TemporaryFolder root;
  fs::path images = root.path / "images", weights = root.path / "model.safetensors",
           output = root.path / "features.safetensors";
  Paths sorted;
  torch::Tensor images_BCHW;

  Folder() {
    write_small_pretrained(weights);
    torch::manual_seed(3);
    std::vector<torch::Tensor> views;
    for (const char* name : {"cat/a.png", "cat/b.png", "cat/c.png", "dog/a.png", "dog/d.png"}) {
      fs::create_directories((images / name).parent_path());
      const auto pixels_HWC = torch::randint(0, 256, {32, 32, 3}, torch::kUInt8);
      write_png(images / name, pixels_HWC);
      views.push_back(to_float(pixels_HWC));
      sorted.push_back((images / name).string());
    }
    images_BCHW = torch::stack(views);
  }

  Ended features(std::vector<std::string> words) const {
    words.insert(words.begin(), {"features", "--weights", weights.string(), "--data", images.string(), "--output",
                                 output.string(), "--batch-size", "2", "--device", "cpu"});
    return start(words);
  }
};

TEST_CASE("features: those of the network's layers, a row for each image, with labels, classes and paths") {
  Folder folder;
  const auto ended =
      folder.features({"--layer", "all", "--pooling", "mean", "--pooling", "cls", "--pooling", "tokens"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.out.find("6 features of 5 images") != std::string::npos);
  const torch::NoGradGuard no_grad;
  LoadedBackbone backbone = load_backbone(folder.weights);
  const auto tokens = backbone.model->layers(normalise(folder.images_BCHW, kImagenetMean, kImagenetStd), {1, 2});
  const TensorFile file = read_safetensors(folder.output);
  CHECK(file.tensors.size() == 7);
  for (const int64_t layer : {1, 2}) {
    const auto& tokens_BTD = tokens[static_cast<size_t>(layer - 1)];
    const auto holds = [&](const char* pooling, const torch::Tensor& expected) {
      CAPTURE(pooling);
      const auto& rows = file.tensors.at(fmt::format("layer{}.{}", layer, pooling));
      CHECK((rows.scalar_type() == torch::kFloat32));
      REQUIRE(rows.sizes() == expected.sizes());
      CHECK(torch::allclose(rows, expected, 1e-4, 1e-5));
    };
    holds("mean", pool(tokens_BTD, FeaturePooling::kMean));
    holds("cls", pool(tokens_BTD, FeaturePooling::kCls));
    holds("tokens", tokens_BTD);
  }
  CHECK(torch::equal(file.tensors.at("labels"), torch::tensor({0, 0, 0, 1, 1})));
  CHECK(nlohmann::json::parse(file.metadata.at("paths")).get<Paths>() == folder.sorted);
  CHECK(nlohmann::json::parse(file.metadata.at("classes")).get<Paths>() == Paths{"cat", "dog"});
  CHECK(file.metadata.at("command") == "features");
}

TEST_CASE("features: the final norm is the network's own, of the last block alone; half is float16") {
  Folder folder;
  REQUIRE(folder.features({"--layer", "1", "--layer", "0", "--pooling", "both", "--final-norm", "--half", "--quiet"})
              .code == 0);
  const torch::NoGradGuard no_grad;
  LoadedBackbone backbone = load_backbone(folder.weights);
  const auto tokens = backbone.model->layers(normalise(folder.images_BCHW, kImagenetMean, kImagenetStd), {1, 2});
  const auto weights = read_safetensors(folder.weights).tensors;
  const auto normed = torch::layer_norm(tokens[1], {16}, weights.at("norm.weight"), weights.at("norm.bias"), 1e-6);
  const auto file = read_safetensors(folder.output);
  const auto holds = [&](const char* name, const torch::Tensor& expected) {
    const auto& rows = file.tensors.at(name);
    CHECK((rows.scalar_type() == torch::kFloat16));
    CHECK(torch::allclose(rows.to(torch::kFloat32), expected, 1e-2, 1e-2));
  };
  holds("layer1.both", pool(tokens[0], FeaturePooling::kBoth));
  holds("layer2.both", pool(normed, FeaturePooling::kBoth));
  CHECK(!torch::allclose(pool(normed, FeaturePooling::kBoth), pool(tokens[1], FeaturePooling::kBoth), 1e-1, 1e-1));
}

TEST_CASE("features: images without class have no labels; a damaged one is an error, or its row is left out") {
  Folder folder;
  const fs::path loose = folder.images / "cat";
  const auto words = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"features", "--weights", folder.weights.string(), "--data", loose.string(), "--output",
                               folder.output.string(), "--quiet"});
    return start(more);
  };
  REQUIRE(words({}).code == 0);
  CHECK(read_safetensors(folder.output).tensors.size() == 1);
  CHECK(read_safetensors(folder.output).tensors.at("layer2.mean").sizes() == torch::IntArrayRef({3, 16}));
  fs::remove(folder.output);
  std::ofstream(loose / "b.png") << "damaged";
  const auto failed = words({});
  CHECK(failed_with_one_line(failed));
  CHECK(failed.err.find("--skip-damaged leaves such images out") != std::string::npos);
  CHECK(!fs::exists(folder.output));
  REQUIRE(words({"--skip-damaged"}).code == 0);
  const auto file = read_safetensors(folder.output);
  CHECK(file.tensors.at("layer2.mean").size(0) == 2);
  CHECK(nlohmann::json::parse(file.metadata.at("paths")).size() == 2);
}

TEST_CASE("features: what cannot work is refused before the work, with what to try") {
  Folder folder;
  const auto refused = [&](const std::vector<std::string>& words, const std::string& message) {
    const auto ended = folder.features(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
    CHECK(!fs::exists(folder.output));
  };
  refused({"--quiet", "--layer", "3"}, "a layer between 1 and 2");
  refused({"--quiet", "--layer", "last"}, "a whole number, got 'last'");
  refused({"--quiet", "--layer", "-1"}, "of at least 0");
  refused({"--quiet", "--pooling", "max"}, "one of mean, cls, both, tokens, got 'max'");
  refused({"--quiet", "--weights", ""}, "set --weights");
  const auto over = start({"features", "--quiet", "--weights", folder.weights.string(), "--data",
                           folder.images.string(), "--output", folder.weights.string()});
  CHECK(failed_with_one_line(over));
  CHECK(over.err.find("apart from what is read") != std::string::npos);
}

}  // namespace
}  // namespace beit

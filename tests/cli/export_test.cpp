#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/normalise.h"
#include "core/probe.h"
#include "tests/cli/small_classifier.h"
#include "tests/core/golden.h"
#include "tests/train/onnx_model.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

struct Files {
  TemporaryFolder root;
  fs::path tokenizer = root.path / "tokenizer.safetensors", mim = root.path / "mim.safetensors",
           classifier = root.path / "classifier.safetensors", output = root.path / "model.onnx";

  Files() {
    write_small_tokenizer(tokenizer);
    write_small_pretrained(mim);
    write_small_classifier(classifier, 3, {"cat", "dog", "fox"});
  }

  Ended run(const fs::path& weights, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"export", "--weights", weights.string(), "--output", output.string()});
    return start(more);
  }
};

torch::Tensor small_images() {
  torch::manual_seed(12);
  return torch::rand({2, 3, 32, 32});
}

TEST_CASE("export: each kind of network becomes what it is for, and the file says of whom and how") {
  const Files files;
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = small_images();
  auto ended = files.run(files.tokenizer);
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.out.find("a tokenizer, images [batch, 3, 32, 32] -> codes [batch, 16]; written to") != std::string::npos);
  {
    const OnnxModel model(files.output);
    CHECK(torch::equal(model.run(images_BCHW).at("codes"), load_tokenizer(files.tokenizer).model->codes(images_BCHW)));
    CHECK(model.metadata("format") == "beit");
    CHECK(model.metadata("command") == "export");
    CHECK(model.metadata("grid") == "4x4");
    CHECK(nlohmann::json::parse(model.metadata("config"))["weights"].get<std::string>() == files.tokenizer.string());
  }
  ended = files.run(files.classifier);
  REQUIRE(ended.code == 0);
  const auto logits_BK =
      load_classifier(files.classifier).model->forward(normalise(images_BCHW, InputForm::kImagenetNorm));
  CHECK(relative_difference(OnnxModel(files.output).run(images_BCHW).at("logits"), logits_BK) < 1e-5);
  CHECK(OnnxModel(files.output).metadata("classes") == R"(["cat","dog","fox"])");
  REQUIRE(files.run(files.classifier, {"--as", "probabilities"}).code == 0);
  CHECK(relative_difference(OnnxModel(files.output).run(images_BCHW).at("probabilities"), logits_BK.softmax(1)) < 1e-4);
}

TEST_CASE("export: features are those of the layers and poolings that were asked for, of any network") {
  const Files files;
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = small_images();
  REQUIRE(files.run(files.mim, {"--layer", "all", "--pooling", "cls", "--pooling", "tokens"}).code == 0);
  LoadedBackbone backbone = load_backbone(files.mim);
  const auto tokens = backbone.model->layers(normalise(images_BCHW, backbone.input), {1, 2});
  auto got = OnnxModel(files.output).run(images_BCHW);
  CHECK(got.size() == 4);
  for (const size_t block : {size_t{0}, size_t{1}}) {
    CHECK(relative_difference(got.at(fmt::format("layer{}.tokens", block + 1)), tokens[block]) < 1e-5);
    CHECK(relative_difference(got.at(fmt::format("layer{}.cls", block + 1)), tokens[block].select(1, 0)) < 1e-5);
  }
  REQUIRE(files.run(files.tokenizer, {"--as", "features", "--image-size", "48"}).code == 0);
  LoadedBackbone encoder = load_backbone(files.tokenizer, {.image_size = 48});
  const auto larger_BCHW = torch::rand({1, 3, 48, 48});
  got = OnnxModel(files.output).run(larger_BCHW);
  const auto encoded_BTD = encoder.model->tokens(normalise(larger_BCHW, encoder.input));
  CHECK(relative_difference(got.at("layer2.mean"), pool(encoded_BTD, FeaturePooling::kMean)) < 1e-5);
}

TEST_CASE("export: what cannot work is refused in one line, and nothing is written") {
  const Files files;
  const auto refused = [&](const Ended& ended, const std::string& message) {
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
    CHECK(!fs::exists(files.output));
  };
  refused(start({"export", "--weights", files.mim.string()}), "set --output FILE");
  refused(start({"export", "--output", files.output.string()}), "set --weights FILE or RUN");
  refused(files.run(files.mim, {"--as", "codes"}), "expected a tokenizer, got a pre-trained model");
  refused(files.run(files.tokenizer, {"--as", "logits"}), "expected a classifier, got a tokenizer");
  refused(files.run(files.classifier, {"--pooling", "cls"}), "expected --pooling with features, got logits");
  refused(files.run(files.tokenizer, {"--final-norm"}), "expected --final-norm with features, got codes");
  refused(files.run(files.mim, {"--pooling", "max"}), "expected one of mean, cls, both, tokens, patches, got 'max'");
  refused(files.run(files.mim, {"--layer", "3"}), "expected a layer between 1 and 2");
  refused(files.run(files.root.path / "none"), "none");
  refused(start({"export", "--weights", files.mim.string(), "-o", files.mim.string()}), "set --output FILE.onnx");
  const fs::path odd = files.root.path / "weights.onnx";
  fs::copy_file(files.mim, odd);
  const Ended over = start({"export", "--weights", odd.string(), "-o", odd.string()});
  CHECK(failed_with_one_line(over));
  CHECK(over.err.find("expected an output apart from what is read") != std::string::npos);
}

}  // namespace
}  // namespace beit

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/started.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

struct Files {
  TemporaryFolder root;
  fs::path tokenizer = root.path / "tokenizer.safetensors", mim = root.path / "mim.safetensors",
           classifier = root.path / "classifier.safetensors", output = root.path / "out";

  Files() {
    write_small_tokenizer(tokenizer);
    write_small_pretrained(mim);
    torch::manual_seed(9);
    ViTOptions vit = load_mim(mim).model->options();
    vit.relative_position = RelPos::kBlock;
    write_safetensors(classifier, state_dict(*Classifier(ClassifierOptions{.vit = vit, .classes = 5})));
  }

  Ended convert(const fs::path& from, std::vector<std::string> more, const fs::path& to) const {
    more.insert(more.begin(), {"convert", from.string(), to.string()});
    return start(more);
  }
  Ended convert(const fs::path& from, const std::string& form) const { return convert(from, {"--to", form}, output); }
};

bool equal_but_indices(TensorMap left, TensorMap right) {
  for (TensorMap* tensors : {&left, &right}) {
    std::erase_if(*tensors, [](const auto& entry) { return entry.first.ends_with("relative_position_index"); });
  }
  return std::ranges::equal(left, right, [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.scalar_type() == b.second.scalar_type() && torch::equal(a.second, b.second);
  });
}

TEST_CASE("convert: there and back every tensor is what it was") {
  const Files files;
  const fs::path back = files.root.path / "back.safetensors";
  for (const fs::path& file : {files.tokenizer, files.mim, files.classifier}) {
    for (const std::string form : {"reference", "safetensors", "hf", "timm"}) {
      CAPTURE(file);
      CAPTURE(form);
      fs::remove_all(files.output);
      const bool folder = form == "hf" || form == "timm";
      if (folder && file == files.tokenizer) continue;
      const auto there = files.convert(file, form);
      CAPTURE(there.err);
      REQUIRE(there.code == 0);
      CHECK(there.err.empty());
      std::vector<std::string> options{"--to", "safetensors"};
      // Only our own form keeps what the tensors cannot say.
      if (form == "reference" && file == files.tokenizer) options.insert(options.end(), {"--heads", "2"});
      const auto again = files.convert(files.output, options, back);
      CAPTURE(again.err);
      REQUIRE(again.code == 0);
      auto expected = read_safetensors(file).tensors;
      if (folder) std::erase_if(expected, [](const auto& entry) { return entry.first.starts_with("cls_pt_"); });
      if (form == "timm") {
        std::erase_if(expected,
                      [](const auto& e) { return e.first == "mask_token" || e.first.starts_with("lm_head."); });
      }
      CHECK(equal_but_indices(read_safetensors(back).tensors, expected));
    }
  }
}

TEST_CASE("convert: what a form has no place for is said, and a tokenizer has none elsewhere") {
  const Files files;
  const auto ended = files.convert(files.mim, "timm");
  CHECK(ended.out.find("left out, has no place in that form: cls_pt_layers.*") != std::string::npos);
  CHECK(ended.out.find("left out, has no place in that form: lm_head.*") != std::string::npos);
  for (const std::string form : {"timm", "hf"}) {
    const auto refused = files.convert(files.tokenizer, form);
    CHECK(failed_with_one_line(refused));
    CHECK(refused.err.find("got a tokenizer, for which") != std::string::npos);
  }
}

TEST_CASE("convert: what cannot work is refused, and nothing is written") {
  const Files files;
  const auto bare = files.root.path / "bare.safetensors", foreign = files.root.path / "foreign.safetensors";
  auto tensors = state_dict(*load_backbone(files.mim).model);
  std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("norm."); });
  write_safetensors(bare, tensors);
  write_safetensors(foreign, {{"x", torch::ones({2})}});
  const auto refused = [](const Ended& ended, const std::string& message) {
    CAPTURE(ended.err);
    CHECK(ended.code == 1);
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused(files.convert(bare, "hf"), "expected a network with a final norm");
  refused(files.convert(foreign, "hf"), "got tensors of an unknown model");
  refused(files.convert(files.root.path / "none", "hf"), "none");
  refused(files.convert(files.mim, {}, files.mim), "apart from what is read");
  refused(files.convert(files.mim, {"--optimizer", "--to", "hf"}, files.output), "ours alone");
  refused(files.convert(files.mim, {"--optimizer"}, files.output), "optimizer.state.0.step");
  refused(files.convert(files.classifier, {"--optimizer"}, files.output), "got a classifier");
  refused(start({"convert", files.mim.string()}), "say `beit convert IN OUT`");
  const fs::path run = files.root.path / "run";
  fs::create_directories(run);
  fs::copy_file(files.mim, run / "model.safetensors");
  refused(files.convert(run, {"--to", "hf"}, run), "apart from what is read");
  fs::create_directories(run / "checkpoints");
  refused(files.convert(files.classifier, {"--to", "hf"}, run), "got one that holds checkpoints");
  CHECK(!fs::exists(run / "config.json"));
  CHECK(!fs::exists(files.output));
}

TEST_CASE("convert: the configurations for other libraries state the network") {
  const Files files;
  REQUIRE(files.convert(files.classifier, "hf").code == 0);
  auto config = nlohmann::json::parse(text_of(files.output / "config.json"));
  CHECK(config["architectures"][0] == "BeitForImageClassification");
  CHECK(config["hidden_size"] == kSmallModel.width);
  CHECK(config["num_attention_heads"] == kSmallModel.heads);
  CHECK(config["image_size"] == 32);
  CHECK(config["use_relative_position_bias"] == true);
  CHECK(config["use_shared_relative_position_bias"] == false);
  CHECK(config["use_mean_pooling"] == true);
  CHECK(config["layer_norm_eps"] == 1e-6);
  CHECK(config["id2label"].size() == 5);
  CHECK(read_safetensors(files.output / "model.safetensors").metadata.at("format") == "pt");

  REQUIRE(files.convert(files.mim, "hf").code == 0);
  config = nlohmann::json::parse(text_of(files.output / "config.json"));
  CHECK(config["architectures"][0] == "BeitForMaskedImageModeling");
  CHECK(config["vocab_size"] == kSmallCodes);
  CHECK(config["use_mask_token"] == true);
  CHECK(config["use_shared_relative_position_bias"] == true);

  REQUIRE(files.convert(files.mim, "timm").code == 0);
  config = nlohmann::json::parse(text_of(files.output / "config.json"));
  CHECK(config["num_classes"] == 0);
  CHECK(config["model_args"]["use_shared_rel_pos_bias"] == true);
  CHECK(config["model_args"]["global_pool"] == "token");
}

TEST_CASE("convert: half precision is the rounding of the same values, and refuses what it cannot hold") {
  const Files files;
  REQUIRE(files.convert(files.tokenizer, {"--half"}, files.output).code == 0);
  const auto half = read_safetensors(files.output).tensors;
  for (const auto& [name, tensor] : read_safetensors(files.tokenizer).tensors) {
    CAPTURE(name);
    CHECK(torch::equal(half.at(name), tensor.to(torch::kHalf)));
  }
  auto tensors = read_safetensors(files.tokenizer).tensors;
  tensors["encoder.cls_token"] = torch::full({1, 1, kSmallModel.width}, 1e6);
  const auto metadata = read_safetensors(files.tokenizer).metadata;
  const fs::path large = files.root.path / "large.safetensors";
  write_safetensors(large, tensors, metadata);
  const auto refused = files.convert(large, {"--half"}, files.output);
  CHECK(failed_with_one_line(refused));
  CHECK(refused.err.find("encoder.cls_token: expected values within float16's range") != std::string::npos);
}

TEST_CASE("convert: our own form keeps what tensors cannot say, and takes what was said at conversion") {
  const Files files;
  const auto bare = files.root.path / "bare.safetensors";
  write_safetensors(bare, read_safetensors(files.tokenizer).tensors);
  const auto refused = files.convert(bare, "safetensors");
  CHECK(failed_with_one_line(refused));
  CHECK(refused.err.find("set --heads") != std::string::npos);
  const auto ended =
      files.convert(bare, {"--heads", "2", "--input-form", "imagenet_norm", "--image-size", "48"}, files.output);
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const LoadedTokenizer loaded = load_tokenizer(files.output);
  CHECK(loaded.options.heads == 2);
  CHECK(loaded.options.image_size == 48);
  CHECK(loaded.codebook.input_form == "imagenet_norm");
}

}  // namespace
}  // namespace beit

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/teacher_clip.h"
#include "core/teacher_dino.h"
#include "io/checkpoint.h"
#include "tests/cli/started.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

using nlohmann::json;

TEST_CASE("inspect: a tokenizer's content, configuration, tensors and codebook usage") {
  const TemporaryFolder folder;
  Tokenizer tokenizer = write_small_tokenizer(folder.path / "model.safetensors");
  auto tensors = state_dict(*tokenizer);
  tensors["quantize.cluster_size"] =
      torch::tensor({2.0F, 2.0F, 2.0F, 2.0F}).repeat({2}).index_put_({0}, 0.0F).repeat({2});
  write_safetensors(folder.path / "model.safetensors", tensors,
                    read_safetensors(folder.path / "model.safetensors").metadata);

  const auto text = start({"inspect", folder.path.string()});
  REQUIRE(text.code == 0);
  CHECK(text.out.find("a tokenizer") != std::string::npos);
  CHECK(text.out.find("encoder.patch_embed.proj.weight") != std::string::npos);
  CHECK(text.out.find("[16, 3, 8, 8]") != std::string::npos);
  CHECK(text.out.find("16 codes of width 4; 87.5% used, 2 unused, perplexity 14.0") != std::string::npos);

  const auto facts = json::parse(start({"inspect", "--json", folder.path.string()}).out);
  CHECK(facts.at("content") == "a tokenizer");
  CHECK(facts.at("config").at("width") == 16);
  CHECK(facts.at("config").at("patch-size") == 8);
  CHECK(facts.at("tensors").size() == tensors.size());
  CHECK(facts.at("codebook").at("unused_codes") == 2);
  CHECK(facts.at("codebook").at("usage_percent") == 87.5);
  CHECK(facts.at("codebook").at("perplexity").get<double>() == doctest::Approx(14.0));
}

TEST_CASE("inspect: pre-trained models, checkpoints, foreign and legacy files are told apart") {
  const TemporaryFolder folder;
  const auto content_of = [](const std::filesystem::path& path) {
    return json::parse(start({"inspect", path.string(), "--json"}).out).at("content").get<std::string>();
  };
  const auto pretrained = folder.path / "pretrained.safetensors", foreign = folder.path / "foreign.safetensors";
  write_small_pretrained(pretrained);
  write_safetensors(foreign, {{"x", torch::ones({2, 3}, torch::kFloat16)}});
  TensorMap state;
  for (const auto& [name, tensor] : read_safetensors(pretrained).tensors) state.emplace("model." + name, tensor);
  state.emplace("optimizer.step", torch::ones({}));
  write_checkpoint(folder.path, {.step = 3, .tensors = state, .metadata = read_safetensors(pretrained).metadata}, {1});
  CHECK(content_of(pretrained) == "a pre-trained model");
  CHECK(content_of(foreign) == "tensors of an unknown model");
  CHECK(content_of(checkpoints(folder.path).front()) == "a checkpoint of a pre-trained model");
  CHECK(content_of(golden("legacy.pth")) == "tensors of an unknown model");
}

TEST_CASE("inspect: the network that the tensors tell, what was assumed, left out, and does not fit") {
  const TemporaryFolder folder;
  const auto path = folder.path / "published.safetensors";
  write_small_pretrained(path);
  TensorMap published;
  for (const auto& [name, tensor] : read_safetensors(path).tensors) published.emplace("model." + name, tensor.clone());
  published.emplace("optimizer.state.0.exp_avg", torch::ones({2}));
  published.erase("model.blocks.1.norm2.bias");
  published["model.lm_head.bias"] = torch::ones({3});
  published["model.more"] = torch::ones({3});
  write_safetensors(path, published);

  const auto facts = json::parse(start({"inspect", "--json", path.string()}).out);
  CHECK(facts.at("content") == "a pre-trained model");
  CHECK(facts.at("names") == "the published code's");
  const json& network = facts.at("network");
  CHECK(network.at("heads") == 2);
  CHECK(network.at("grid") == "4x4");
  CHECK(network.at("relative_position") == "shared");
  CHECK(network.at("missing") == json{"blocks.1.norm2.bias"});
  CHECK(network.at("unexpected") == json{"more"});
  CHECK(network.at("wrong_shape") == json{"lm_head.bias: expected [16], got [3]"});
  CHECK(facts.at("assumed") == json{"a CLS branch that takes its patches after block 1"});
  CHECK(facts.at("no_part_of_the_network").size() == 2);

  const auto text = start({"inspect", path.string()}).out;
  for (const char* part : {"names: the published code's", "\nnetwork\n", "missing", "blocks.1.norm2.bias",
                           "\nassumed\n", "\nno part of the network\n  optimizer.*"}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }

  published.erase("model.blocks.0.mlp.fc1.weight");
  write_safetensors(path, published);
  const auto unusable = json::parse(start({"inspect", "--json", path.string()}).out);
  CHECK(unusable.at("content") == "a network that cannot be used");
  CHECK(unusable.at("problem").get<std::string>().find("blocks.0.mlp.fc1.weight") != std::string::npos);
  CHECK(unusable.at("tensors").size() == published.size());
}

TEST_CASE("inspect: a teacher's sizes, and what its file leaves open") {
  const TemporaryFolder folder;
  const auto path = folder.path / "teacher.safetensors";
  const auto facts_of = [&](const torch::nn::Module& network) {
    write_safetensors(path, state_dict(network));
    return json::parse(start({"inspect", "--json", path.string()}).out);
  };
  const Grid grid{.rows = 2, .columns = 2};
  const auto clip = facts_of(
      *ClipVisual(ClipOptions{.grid = grid, .patch_size = 4, .width = 128, .depth = 1, .heads = 2, .output = 8}));
  CHECK(clip.at("content") == "a CLIP network");
  CHECK(clip.at("network") ==
        json{{"width", 128}, {"depth", 1}, {"heads", 2}, {"patch_size", 4}, {"grid", "2x2"}, {"output", 8}});
  CHECK(clip.at("assumed") == json{"heads of width 64", "quick_gelu, as OpenAI trained it"});
  const auto dino = facts_of(*DinoVisual(DinoOptions{.grid = grid,
                                                     .patch_size = 4,
                                                     .width = 64,
                                                     .depth = 1,
                                                     .heads = 1,
                                                     .hidden = 8,
                                                     .registers = 3,
                                                     .layer_scale = true}));
  CHECK(dino.at("network").at("registers") == 3);
  CHECK(dino.at("network").at("layer_scale") == true);
  CHECK(dino.at("assumed") == json{"heads of width 64"});
}

TEST_CASE("inspect: a truncated file is refused in one line") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  write_small_tokenizer(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const auto ended = start({"inspect", path.string()});
  CHECK(failed_with_one_line(ended));
  CHECK(ended.err.find(path.string()) != std::string::npos);
}

}  // namespace
}  // namespace beit

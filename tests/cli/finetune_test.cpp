// `beit finetune` on made-up pictures in three colours, with tiny networks.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

/// Noise in which each class is a little more of one colour.
void write_images(const fs::path& folder, const Words& classes, int64_t images, uint64_t seed) {
  torch::manual_seed(seed);
  const Words colours{"blue", "green", "red"};
  for (const std::string& name : classes) {
    fs::create_directories(folder / name);
    const int64_t channel = 2 - (std::ranges::find(colours, name) - colours.begin());
    for (int64_t i = 0; i < images; ++i) {
      auto pixels_HWC = torch::randint(200, {32, 32, 3}, torch::kUInt8);
      if (channel >= 0) pixels_HWC.select(2, channel).add_(55);
      write_png(folder / name / fmt::format("{:02}.png", i), pixels_HWC);
    }
  }
}

struct Colours {
  TemporaryFolder root;
  fs::path train = root.path / "train", val = root.path / "val", weights = root.path / "pretrained.safetensors";

  Colours() {
    write_images(train, {"blue", "green", "red"}, 16, 1);
    write_images(val, {"blue", "green", "red"}, 8, 2);
    write_small_pretrained(weights);
  }

  /// Into RUN below the folder; ten steps unless `more` says otherwise.
  Ended finetune(const std::string& run, const Words& more) const {
    Words words{"finetune"};
    for (const auto& [flag, value] : {std::pair<const char*, std::string>("--data", train.string()),
                                      {"--output", (root.path / run).string()},
                                      {"--device", "cpu"},
                                      {"--threads", "1"},
                                      {"--log-every", "1"},
                                      {"--batch-size", "24"},
                                      {"--epochs", "5"},
                                      {"--lr", "5e-3"},
                                      {"--warmup-epochs", "1"}}) {
      if (std::ranges::find(more, flag) == more.end()) words.insert(words.end(), {flag, value});
    }
    words.insert(words.end(), more.begin(), more.end());
    return start(words);
  }
  Words from_weights() const { return {"--weights", weights.string()}; }

  std::vector<nlohmann::json> log_of(const std::string& run, bool epochs) const {
    std::vector<nlohmann::json> lines;
    std::ifstream file(root.path / run / "log.jsonl");
    for (std::string line; std::getline(file, line);) {
      const auto entry = nlohmann::json::parse(line);
      if (epochs ? entry.value("event", "") == "epoch" : !entry.contains("event")) lines.push_back(entry);
    }
    return lines;
  }
  double last(const std::string& run, const char* figure) const { return log_of(run, true).back().at(figure); }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_CASE("finetune: a simple problem is learnt, and every file of weights names the classes") {
  const Colours colours;
  const auto ended =
      colours.finetune("run", colours.from_weights() + Words{"--val-data", colours.val.string(), "--epochs", "30",
                                                             "--mixup", "0", "--cutmix", "0", "--ema-decay", "0.8"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  CHECK(colours.last("run", "val_top1") > 80);
  CHECK(colours.last("run", "ema_val_top1") > 80);
  CHECK(colours.log_of("run", false).back().contains("top1"));
  const fs::path run = colours.root.path / "run";
  const Words names{"blue", "green", "red"};
  for (const char* file : {"model.safetensors", "model_ema.safetensors"})
    CHECK(load_classifier(run / file).class_names == names);
  CHECK(read_safetensors(checkpoints(run).front()).metadata.at("classes") == R"(["blue","green","red"])");
  const LoadedClassifier loaded = load_classifier(run);
  CHECK(loaded.classes == 3);
  CHECK(loaded.options.width == 16);
  CHECK(has(text_of(run / "config.toml"), "[finetune]"));

  const auto same = start({"finetune", "--config", (run / "config.toml").string()});
  CAPTURE(same.err);
  CHECK(same.code == 0);
}

TEST_CASE("finetune: with mixing a run cut off and resumed equals an unbroken one") {
  const Colours colours;
  const Words words = colours.from_weights() + Words{"--checkpoint-every", "3"};
  const auto whole = colours.finetune("whole", words);
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  REQUIRE(colours.finetune("cut", words + Words{"--steps", "4"}).code == 0);
  const auto resumed = colours.finetune("cut", words);
  CHECK(has(resumed.out, "resumed after step 4 of 10"));
  const auto expected = read_safetensors(colours.root.path / "whole" / "model.safetensors").tensors,
             got = read_safetensors(colours.root.path / "cut" / "model.safetensors").tensors;
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(torch::equal(got.at(name), value));
  }
  CHECK(!colours.log_of("whole", false).back().contains("top1"));
}

TEST_CASE("finetune: from a classifier the head goes on where the classes are the same, else a new one starts") {
  const Colours colours;
  REQUIRE(colours.finetune("first", colours.from_weights() + Words{"--epochs", "2"}).code == 0);
  const std::string first = (colours.root.path / "first").string();
  const auto on = colours.finetune("on", {"--weights", first, "--steps", "1"});  // at a rate of 0, where warm-up starts
  CAPTURE(on.err);
  REQUIRE(on.code == 0);
  CHECK(has(on.out, "its head of 3 classes is taken\n"));
  CHECK(torch::equal(read_safetensors(colours.root.path / "on" / "model.safetensors").tensors.at("head.weight"),
                     read_safetensors(colours.root.path / "first" / "model.safetensors").tensors.at("head.weight")));

  write_images(colours.root.path / "other", {"blue", "dark"}, 12, 3);
  const auto other =
      colours.finetune("new", {"--weights", first, "--data", (colours.root.path / "other").string(), "--epochs", "1"});
  CAPTURE(other.err);
  REQUIRE(other.code == 0);
  CHECK(has(other.out, "its head of 3 classes is left out: the data has"));
}

TEST_CASE("finetune: another resolution and the CLS form stand in the file") {
  const Colours colours;
  const auto ended = colours.finetune("run", colours.from_weights() + Words{"--image-size", "64", "--pooling", "cls",
                                                                            "--steps", "1", "--drop-path", "0.3"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  LoadedClassifier loaded = load_classifier(colours.root.path / "run");
  CHECK(loaded.options.image_size == 64);
  CHECK(loaded.options.drop_path == 0.3);
  CHECK(loaded.model->pooling() == Pooling::kCls);
  CHECK(loaded.model->options().grid == Grid{8, 8});
}

TEST_CASE("finetune: from scratch, and from a tokenizer's encoder") {
  const Colours colours;
  const auto tokenizer = colours.root.path / "tokenizer.safetensors";
  write_small_tokenizer(tokenizer);
  const auto encoder = colours.finetune("encoder", {"--weights", tokenizer.string(), "--steps", "1"});
  CAPTURE(encoder.err);
  CHECK(encoder.code == 0);
  const Words sizes{"--width", "16", "--depth", "1", "--heads", "2", "--patch-size", "8", "--image-size", "32"};
  const auto scratch = colours.finetune("scratch", sizes + Words{"--steps", "1", "--layer-decay", "1"});
  CAPTURE(scratch.err);
  CHECK(scratch.code == 0);
  CHECK(scratch.err.empty());
  CHECK(has(colours.finetune("slow", sizes + Words{"--steps", "1"}).err, "no --weights"));
}

TEST_CASE("finetune: validation data may lack classes, and its own are told by their names") {
  const Colours colours;
  const auto some = colours.root.path / "some";
  write_images(some, {"green", "red"}, 8, 2);
  const auto whole = colours.finetune("run", colours.from_weights() + Words{"--val-data", some.string(), "--epochs",
                                                                            "30", "--mixup", "0", "--cutmix", "0"});
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(colours.last("run", "val_top1") > 80);  // would be near 0 by numbers
}

TEST_CASE("finetune: what cannot work is refused before the work, with what to try") {
  const Colours colours;
  const auto foreign = colours.root.path / "foreign.safetensors", loose = colours.root.path / "loose",
             one = colours.root.path / "one", strange = colours.root.path / "strange";
  write_safetensors(foreign, {{"x", torch::ones({2})}});
  fs::copy(colours.train / "red", loose);
  fs::create_directories(one);
  fs::copy(colours.train / "red", one / "red", fs::copy_options::recursive);
  write_images(strange, {"greem", "red"}, 2, 4);
  const auto refused = [&](const Words& more, const std::string& message) {
    const auto ended = colours.finetune("run", Words{"--quiet"} + more);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(has(ended.err, message));
  };
  const Words weights = colours.from_weights();
  refused(weights + Words{"--data", loose.string()}, "got one without class; a class is a folder");
  refused(weights + Words{"--data", one.string()}, "images of two classes at least, got 1");
  refused(weights + Words{"--val-data", strange.string()}, "got 'greem'; is 'green' meant?");
  refused(weights + Words{"--val-data", loose.string()}, "got one without class; a class is a folder");
  refused(weights + Words{"--model", "large"}, "expected its width of 16, got 1024");
  refused(weights + Words{"--depth", "3"}, "leave out --depth");
  refused(weights + Words{"--patch-size", "4"}, "leave out --patch-size");
  refused(weights + Words{"--image-size", "30"}, "multiple of the patch size");
  refused(weights + Words{"--rand-augment", "rand-z3"}, "rand-z3");
  refused(weights + Words{"--layer-decay", "0"}, "--layer-decay");
  refused(weights + Words{"--label-smoothing", "1"}, "--label-smoothing");
  refused(weights + Words{"--mixup", "-1"}, "--mixup");
  refused(weights + Words{"--pooling", "max"}, "--pooling");
  refused(weights + Words{"--color-jitter", "0.4"}, "--color-jitter");
  refused(weights + Words{"--accumulate", "5"}, "expected a batch size that");
  refused({"--weights", foreign.string()}, "got tensors of an unknown model");
  refused({"--weights", (colours.root.path / "none").string()}, "none");
  refused(weights + Words{"--output", colours.weights.string()}, "expected an output apart from what is read");
  CHECK(!fs::exists(colours.root.path / "run" / "log.jsonl"));
}

}  // namespace
}  // namespace beit

// Runs that are killed, that cannot write, whose numbers are no longer finite: what was learnt stays, and goes on
// alike.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/random.h"
#include "data/label_maps.h"
#include "data/png.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "tests/cli/background.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"
#include "viz/label_picture.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const Words kSmall{"--data",       (source_folder() / "demo/data/cifar10-small-train.tar").string(),
                   "--width",      "16",
                   "--depth",      "2",
                   "--heads",      "2",
                   "--image-size", "32",
                   "--batch-size", "100",
                   "--device",     "cpu",
                   "--threads",    "1",
                   "--log-every",  "1"};

Words join(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words vqkd(const fs::path&) {
  return {"vqkd", "--teacher", "pixels", "--codes", "16", "--code-dim", "4", "--patch-size", "8"};
}

Words decode(const fs::path& folder) {
  const auto tokenizer = folder / "tokenizer.safetensors";
  write_small_tokenizer(tokenizer);
  return {"decode", "--tokenizer", tokenizer.string()};
}

Words pretrain(const fs::path& folder) {
  const auto tokenizer = folder / "tokenizer.safetensors";
  write_small_tokenizer(tokenizer);
  return {"pretrain",
          "--tokenizer",
          tokenizer.string(),
          "--drop-path",
          "0.2",
          "--patch-size",
          "8",
          "--masked-patches",
          "6",
          "--min-mask-block",
          "2"};
}

Words finetune(const fs::path& folder) {
  const auto weights = folder / "pretrained.safetensors";
  write_small_pretrained(weights);
  return {"finetune",     "--weights", weights.string(),   "--drop-path", "0.2",
          "--patch-size", "8",         "--random-erasing", "0.5"};
}

/// Every image's left half is of one class, its right half of another.
Words segment(const fs::path& folder) {
  const std::vector<fs::path> sources{source_folder() / "demo/data/cifar10-small-train.tar"};
  auto labels_HW = torch::zeros({32, 32}, torch::kUInt8);
  labels_HW.narrow(1, 16, 16).fill_(1);
  const auto bytes = encode_png_indices(labels_HW, label_palette());
  std::vector<std::vector<uint8_t>> members;
  for (const auto& name : label_paths(Dataset::open(sources), sources, true))
    members.push_back(tar_member(name, bytes));
  const auto labels = folder / "labels.tar";
  write_bytes(labels, tar(members));
  Words words{"segment", "--labels", labels.string()};
  for (const char* word : {"--patch-size", "8", "--classes", "2", "--channels", "8", "--auxiliary-channels", "4",
                           "--long-side", "32", "--short-side", "32", "--warmup-steps", "9", "--lr", "1e-3"}) {
    words.emplace_back(word);
  }
  return words;
}

/// A command that trains, and what it wants beside the options of all.
struct Training {
  std::string name;
  std::function<Words(const fs::path& folder)> words;
  Words more;
  int share_of_kills;
};

// Commands that train join here.
const Training kTrainings[]{
    {"vqkd", vqkd, {}, 1},
    {"pretrain", pretrain, {}, 1},
    {"vqkd on two ranks", vqkd, {"--ranks", "2"}, 4},
    {"pretrain on two ranks in shards and parts, averaged, with recomputation",
     pretrain,
     {"--ranks", "2", "--shard-optimizer", "--accumulate", "5", "--recompute", "--ema-decay", "0.9"},
     4},
    {"decode", decode, {}, 4},
    {"decode on two ranks, averaged", decode, {"--ranks", "2", "--ema-decay", "0.9"}, 4},
    {"finetune", finetune, {}, 1},
    {"finetune on two ranks in shards and parts, averaged",
     finetune,
     {"--ranks", "2", "--shard-optimizer", "--accumulate", "5", "--ema-decay", "0.9"},
     4},
    {"segment", segment, {}, 1},
    {"segment on two ranks, averaged, with recomputation",
     segment,
     {"--ranks", "2", "--recompute", "--ema-decay", "0.9"},
     4},
};

/// A checkpoint's name, and how many lines the log has.
std::string progress_of(const fs::path& run) {
  const auto found = checkpoints(run);
  std::error_code none;
  const auto log = fs::file_size(run / "log.jsonl", none);
  return (found.empty() ? "" : found.front().filename().string()) + " " + std::to_string(none ? 0 : log);
}

void check_equal(const TensorMap& got, const TensorMap& expected) {
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(torch::equal(got.at(name), value));
  }
}

TEST_CASE("survival: a run killed again and again ends with the weights of one that was not, bit for bit") {
  const char* wanted = std::getenv("BEIT_KILLS");
  const int most_kills = wanted != nullptr ? std::atoi(wanted) : 20;
  for (const Training& training : kTrainings) {
    CAPTURE(training.name);
    const int kills = most_kills / training.share_of_kills;
    const TemporaryFolder folder;
    const Words words = join(join(join(training.words(folder.path), training.more), kSmall),
                             {"--epochs", "2", "--warmup-epochs", "1", "--checkpoint-every", "3", "--steps", "90"});
    const auto run = folder.path / "killed", whole = folder.path / "whole";
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(start(join(words, {"--output", whole.string()})).code == 0);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    // So short that a run, however fast, does not end before it was killed so often.
    const auto longest_at_start = std::min<int64_t>(400, static_cast<int64_t>(took.count() / 3)),
               longest = std::min<int64_t>(60, static_cast<int64_t>(took.count() / 90));

    Random random(31, 0, 0, Purpose::kWeights);
    int killed = 0, code = -1;
    for (int starts = 0; starts < 20 * kills && code != 0; ++starts) {
      const auto before = progress_of(run);
      Background process(join(words, {"--output", run.string()}));
      const bool at_start = killed < kills && random.uniform() < 0.2;  // before its first step too
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (process.runs() && !at_start && progress_of(run) == before) {
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(random.integer(0, at_start ? longest_at_start : longest)));
      if (killed < kills && process.runs()) {
        process.signal(SIGKILL);
        ++killed;
        continue;
      }
      code = process.wait();
    }
    REQUIRE(code == 0);
    CHECK(killed == kills);
    const auto expected = read_checkpoint(checkpoints(whole).front()), got = read_checkpoint(checkpoints(run).front());
    CHECK(expected.step == 90);
    CHECK(got.step == 90);
    check_equal(got.tensors, expected.tensors);
    for (const char* weights : {"model.safetensors", "model_ema.safetensors"}) {
      REQUIRE(fs::exists(run / weights) == fs::exists(whole / weights));
      if (!fs::exists(whole / weights)) continue;
      check_equal(read_safetensors(run / weights).tensors, read_safetensors(whole / weights).tensors);
    }
  }
}

/// The processes that a process has started.
std::vector<pid_t> children_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(process) + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;) children.push_back(child);
  return children;
}

TEST_CASE(
    "survival: ranks of which one is killed end with its name, and the run goes on with another number of ranks") {
  const TemporaryFolder folder;
  const auto run = folder.path / "run", whole = folder.path / "whole";
  const Words words = join(join(kTrainings[1].words(folder.path), kSmall),
                           {"--epochs", "2", "--warmup-epochs", "1", "--checkpoint-every", "3", "--steps", "60"});
  REQUIRE(start(join(words, {"--output", whole.string()})).code == 0);
  Background process(join(words, {"--output", run.string(), "--ranks", "2", "--rank-timeout", "5"}));
  process.until([&] { return !checkpoints(run).empty(); });
  const auto ranks = children_of(process.process());
  REQUIRE(ranks.size() == 2);
  ::kill(ranks[1], SIGKILL);
  const auto killed_at = std::chrono::steady_clock::now();
  CHECK(process.wait() == 1);
  CHECK(std::chrono::steady_clock::now() - killed_at < std::chrono::seconds(25));
  CAPTURE(text_of(process.err()));
  CHECK(text_of(process.err()).find("rank 1 ended by signal 9") != std::string::npos);

  const auto goes_on = start(join(words, {"--output", run.string(), "--ranks", "4"}));
  CAPTURE(goes_on.err);
  CHECK(goes_on.code == 0);
  CHECK(goes_on.err.find("ranks 2 there, 4 now") != std::string::npos);
  CHECK(goes_on.out.find("resumed after step ") != std::string::npos);
  // Not to the bit, as sums are taken in another order; but the same run.
  const auto expected = read_safetensors(whole / "model.safetensors").tensors,
             got = read_safetensors(run / "model.safetensors").tensors;
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    if (value.is_floating_point()) CHECK(torch::allclose(got.at(name), value, 1e-2, 1e-3));
  }
}

TEST_CASE("survival: a signal to the ranks' starter saves, and the program says that it can go on") {
  const TemporaryFolder folder;
  const auto run = folder.path / "run";
  const Words words = join(join(kTrainings[0].words(folder.path), kSmall),
                           {"--output", run.string(), "--ranks", "2", "--epochs", "1000", "--min-lr", "0"});
  Background process(words);
  process.until([&] { return text_of(run / "log.jsonl").find("\"loss\"") != std::string::npos; });
  process.signal(SIGTERM);
  CHECK(process.wait() == 75);
  CAPTURE(text_of(process.err()));
  CHECK(checkpoints(run).size() == 1);
  CHECK(text_of(run / "log.jsonl").find("\"state\":\"stopped\"") != std::string::npos);
}

TEST_CASE("survival: two ranks measure as one does, though a validation set does not divide") {
  const TemporaryFolder folder;
  const auto val = folder.path / "val";  // 101 of the demo's images, of one of its classes
  fs::create_directories(val / "dog");
  const auto images = Dataset::open(std::vector<fs::path>{source_folder() / "demo/data/cifar10-small-test.tar"});
  for (int64_t i = 0; i < 101; ++i) {
    const auto bytes = images.read(i);
    std::ofstream(val / "dog" / (std::to_string(i) + ".jpg"), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  for (const Training& training : {kTrainings[0], kTrainings[1], kTrainings[4]}) {
    CAPTURE(training.name);
    std::vector<nlohmann::json> figures;
    for (const char* ranks : {"1", "2", "4"}) {
      const auto run = folder.path / (std::string(training.name) + ranks);
      const auto ended =
          start(join(join(training.words(folder.path), kSmall),
                     {"--val-data", val.string(), "--ranks", ranks, "--steps", "1", "--output", run.string()}));
      CAPTURE(ended.err);
      REQUIRE(ended.code == 0);
      std::ifstream file(run / "log.jsonl");
      for (std::string line; std::getline(file, line);) {
        const auto entry = nlohmann::json::parse(line);
        if (entry.value("event", "") == "epoch") figures.push_back(entry);
      }
    }
    REQUIRE(figures.size() == 3);
    int compared = 0;
    for (const auto& [key, value] : figures[0].items()) {
      if (!key.starts_with("val_")) continue;
      CAPTURE(key);
      ++compared;
      for (const int other : {1, 2})
        CHECK(figures[other][key].get<double>() == doctest::Approx(value.get<double>()).epsilon(1e-4));
    }
    CHECK(compared >= 2);
  }
}

TEST_CASE("survival: a step that is not finite changes nothing, and at last its images are named") {
  const TemporaryFolder folder;
  const auto run = folder.path / "run";
  const auto ended =
      start(join(join(kTrainings[0].words(folder.path), kSmall),
                 {"--output", run.string(), "--lr", "1e30", "--warmup-epochs", "0", "--retries", "2", "--steps", "9"}));
  CAPTURE(ended.err);
  CHECK(ended.code == 1);
  CHECK(ended.err.find("refused, nothing is changed") != std::string::npos);
  CHECK(ended.err.find(" in 3 tries; the steps before it are saved") != std::string::npos);
  CHECK(ended.err.find("cifar10-small-train.tar/") != std::string::npos);
  CHECK(ended.err.find(" and 80 more") != std::string::npos);
  REQUIRE(!checkpoints(run).empty());
  for (const auto& [name, value] : read_checkpoint(checkpoints(run).front()).tensors) {
    CAPTURE(name);
    CHECK(torch::isfinite(value).all().item<bool>());
  }
}

TEST_CASE("survival: a checkpoint that cannot be written is an error line, and the run goes on") {
  const TemporaryFolder folder;
  const auto run = folder.path / "run", err = folder.path / "err";
  std::string line = "ulimit -f 40; '" + program().string() + "'";  // blocks of 512 bytes: room for the log alone
  for (const auto& word : join(join(kTrainings[0].words(folder.path), kSmall),
                               {"--output", run.string(), "--checkpoint-every", "2", "--steps", "6"})) {
    line += " '" + word + "'";
  }
  const int status = std::system(("sh -c \"" + line + "\" > /dev/null 2> '" + err.string() + "'").c_str());
  const auto text = text_of(err);
  CAPTURE(text);
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(text.find("the run goes on with the checkpoints that it has") != std::string::npos);
  CHECK(text.find("beit: error: ") != std::string::npos);
  CHECK(text_of(run / "log.jsonl").find("\"step\":6") != std::string::npos);
  CHECK(!fs::exists(run / "model.safetensors"));
  CHECK(checkpoints(run).empty());
}

TEST_CASE("survival: checkpoints at multiples of --keep-every stay") {
  const TemporaryFolder folder;
  const auto run = folder.path / "run";
  REQUIRE(start(join(join(kTrainings[0].words(folder.path), kSmall),
                     {"--output", run.string(), "--checkpoint-every", "1", "--keep-checkpoints", "2", "--keep-every",
                      "4", "--steps", "10"}))
              .code == 0);
  std::vector<std::string> names;
  for (const auto& path : checkpoints(run)) names.push_back(path.filename().string());
  CHECK(names == std::vector<std::string>{"step-00000010.safetensors", "step-00000009.safetensors",
                                          "step-00000008.safetensors", "step-00000004.safetensors"});
}

TEST_CASE("survival: a collapsing codebook raises an alarm") {
  const TemporaryFolder folder;
  const auto run = folder.path / "run";
  const auto ended = start(join(
      join({"vqkd", "--teacher", "pixels", "--codes", "64", "--code-dim", "4", "--patch-size", "8"}, kSmall),
      {"--output", run.string(), "--lr", "1", "--warmup-epochs", "0", "--revive-threshold", "0", "--steps", "60"}));
  CAPTURE(ended.err);
  CHECK(ended.err.find("the codebook collapses") != std::string::npos);
  CHECK(ended.err.find("--revive-threshold") != std::string::npos);
}

}  // namespace
}  // namespace beit

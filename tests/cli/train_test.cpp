// A few real steps of `beit vqkd` and `beit pretrain` on the demo's images, with tiny networks.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "tests/cli/started.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

std::string demo_images(const std::string& part) {
  return (source_folder() / ("demo/data/cifar10-small-" + part + ".tar")).string();
}

const Words kNetwork{"--width", "16", "--depth", "2", "--heads", "2", "--image-size", "32", "--patch-size", "8"};

Ended run_vqkd(const fs::path& run, const Words& more) {
  Words words{"vqkd", "--data", demo_images("train"), "--teacher", "pixels", "--output", run.string()};
  for (const char* word : {"--codes", "16", "--code-dim", "4", "--decoder-depth", "1", "--batch-size", "1000"}) {
    words.emplace_back(word);
  }
  for (const char* word :
       {"--epochs", "2", "--warmup-epochs", "1", "--lr", "1e-4", "--log-every", "2", "--device", "cpu"}) {
    words.emplace_back(word);
  }
  words.insert(words.end(), kNetwork.begin(), kNetwork.end());
  words.insert(words.end(), more.begin(), more.end());
  return start(words);
}

Ended run_pretrain(const fs::path& run, const fs::path& tokenizer, const Words& more) {
  Words words{"pretrain", "--data", demo_images("train"), "--tokenizer", tokenizer.string(), "--output", run.string()};
  for (const char* word : {"--batch-size", "1000", "--epochs", "2", "--log-every", "2", "--device", "cpu"}) {
    words.emplace_back(word);
  }
  for (const char* word : {"--drop-path", "0.2", "--masked-patches", "6", "--min-mask-block", "2"}) {
    words.emplace_back(word);
  }
  words.insert(words.end(), kNetwork.begin(), kNetwork.end());
  words.insert(words.end(), more.begin(), more.end());
  return start(words);
}

std::vector<nlohmann::json> log_of(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run / "log.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// Those of steps and epochs.
std::vector<nlohmann::json> figures_of(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  for (const auto& line : log_of(run)) {
    if (!line.contains("event") || line["event"] == "epoch") lines.push_back(line);
  }
  return lines;
}

/// Like failed_with_one_line(), for a command that had said on stdout what it was going to do.
bool failed(const Ended& ended) {
  return ended.code == 1 && ended.err.starts_with("beit: error: ") && ended.err.find('\n') == ended.err.size() - 1;
}

/// Checks that two runs of 10 steps ended with the same weights and the same losses.
void check_equal_runs(const fs::path& whole, const fs::path& resumed) {
  CHECK(text_of(whole / "model.safetensors") != "");
  const auto expected = read_safetensors(whole / "model.safetensors").tensors;
  const auto got = read_safetensors(resumed / "model.safetensors").tensors;
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    REQUIRE(got.contains(name));
    CHECK(torch::equal(got.at(name), value));
  }
  std::vector<double> expected_losses, losses;
  for (const auto& line : log_of(whole)) {
    if (line.contains("loss") && line["step"].get<int>() % 2 == 0) expected_losses.push_back(line["loss"]);
  }
  for (const auto& line : log_of(resumed)) {
    if (line.contains("loss") && line["step"].get<int>() % 2 == 0) losses.push_back(line["loss"]);
  }
  CHECK(losses == expected_losses);
}

TEST_CASE("vqkd: a run cut off in the middle of an epoch and resumed equals an unbroken one") {
  const TemporaryFolder folder;
  const fs::path whole = folder.path / "whole", cut = folder.path / "cut";
  const auto first = run_vqkd(whole, {});
  CAPTURE(first.err);
  REQUIRE(first.code == 0);
  REQUIRE(run_vqkd(cut, {"--steps", "7", "--checkpoint-every", "3"}).code == 0);
  const auto second = run_vqkd(cut, {"--workers", "1"});
  REQUIRE(second.code == 0);
  CHECK(second.out.find("resumed after step 7 of 10") != std::string::npos);
  check_equal_runs(whole, cut);

  int resumes = 0;
  for (const auto& line : log_of(cut)) {
    if (line.value("event", "") != "resume") continue;
    CHECK(line["step"] == 7);
    ++resumes;
  }
  CHECK(resumes == 1);
}

TEST_CASE("pretrain: a run cut off in the middle of an epoch and resumed equals an unbroken one") {
  const TemporaryFolder folder;
  const fs::path tokenizer = folder.path / "tokenizer", whole = folder.path / "whole", cut = folder.path / "cut";
  REQUIRE(run_vqkd(tokenizer, {"--steps", "1"}).code == 0);
  const auto first = run_pretrain(whole, tokenizer, {"--val-data", demo_images("test")});
  CAPTURE(first.err);
  REQUIRE(first.code == 0);
  REQUIRE(run_pretrain(cut, tokenizer, {"--steps", "4"}).code == 0);
  REQUIRE(run_pretrain(cut, tokenizer, {}).code == 0);
  check_equal_runs(whole, cut);

  const auto last = figures_of(whole).back();
  CHECK(last["event"] == "epoch");
  CHECK(last["val_masked_accuracy"].get<double>() >= 0.0);
  CHECK(last["val_masked_accuracy"].get<double>() <= 1.0);
}

TEST_CASE("vqkd: a run's folder holds what others rely on") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "a" / "run";
  REQUIRE(run_vqkd(run, {"--val-data", demo_images("test")}).code == 0);
  const auto lines = figures_of(run);
  CHECK(lines.front()["step"] == 1);
  for (const char* key : {"epoch", "loss", "reconstruction_loss", "commitment_loss", "lr", "grad_norm", "images_per_s",
                          "data_wait", "memory_bytes", "seconds_left"}) {
    CAPTURE(key);
    CHECK(lines.front().contains(key));
  }
  CHECK(lines.back()["step"] == 10);
  for (const char* key : {"usage_percent", "unused_codes", "perplexity", "val_usage_percent", "val_perplexity"}) {
    CAPTURE(key);
    CHECK(lines.back().contains(key));
  }
  CHECK(checkpoints(run).front().filename() == "step-00000010.safetensors");

  const auto log = log_of(run);
  const auto& first = log.front();
  CHECK(first["event"] == "start");
  CHECK(first["steps"] == 10);
  CHECK(first["device"] == "cpu");
  CHECK(first["precision"] == "float32");
  CHECK(first["ranks"] == 1);
  CHECK(first["images"] == 5000);
  CHECK(!first["processor"].get<std::string>().empty());
  CHECK(!first["version"].get<std::string>().empty());
  CHECK(log.back()["event"] == "end");
  CHECK(log.back()["state"] == "finished");
  CHECK(std::ranges::count_if(log, [](const auto& line) { return line.value("event", "") == "checkpoint"; }) == 2);
  CHECK(!fs::is_empty(run / "events"));

  // Its configuration starts the same run again.
  const fs::path again = folder.path / "again";
  REQUIRE(start({"vqkd", "--config", (run / "config.toml").string(), "--output", again.string()}).code == 0);
  CHECK(torch::equal(read_safetensors(again / "model.safetensors").tensors.at("quantize.embedding.weight"),
                     read_safetensors(run / "model.safetensors").tensors.at("quantize.embedding.weight")));
}

TEST_CASE("training: reduced precision follows float32, or is an error where the device has none") {
  const TemporaryFolder folder;
  const auto loss_of = [&](const std::string& precision) {
    const fs::path run = folder.path / precision;
    const auto ended = run_vqkd(run, {"--steps", "3", "--log-every", "1", "--precision", precision});
    CAPTURE(ended.err);
    if (ended.code != 0) {
      CHECK(failed(ended));
      CHECK(ended.err.find("use --precision float32") != std::string::npos);
      return 0.0;
    }
    CHECK(log_of(run).front()["precision"] == precision);
    return figures_of(run)[2]["loss"].get<double>();
  };
  const double full = loss_of("float32"), half = loss_of("bf16");
  CHECK(full > 0);
  if (half > 0) CHECK(half == doctest::Approx(full).epsilon(0.02));
  if (half > 0) CHECK(half != full);
  CHECK(loss_of("fp16") == 0.0);  // no GPU is asked for
}

TEST_CASE("vqkd: a finished run is left as it is, and --resume never starts anew") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run";
  REQUIRE(run_vqkd(run, {"--steps", "3"}).code == 0);
  const std::string log = text_of(run / "log.jsonl");
  const auto again = run_vqkd(run, {"--steps", "3"});
  CHECK(again.code == 0);
  CHECK(again.out.find("finished at step 3") != std::string::npos);
  CHECK(text_of(run / "log.jsonl") == log);

  REQUIRE(run_vqkd(run, {"--steps", "2", "--resume", "never"}).code == 0);
  CHECK(checkpoints(run).front().filename() == "step-00000002.safetensors");
  CHECK(log_of(run).back()["step"] == 2);
}

TEST_CASE("vqkd: a run goes on with other options only when told to, and past a damaged checkpoint") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run";
  REQUIRE(run_vqkd(run, {"--steps", "2", "--checkpoint-every", "1"}).code == 0);
  const auto refused = run_vqkd(run, {"--steps", "3", "--beta", "0.5"});
  CHECK(failed(refused));
  CHECK(refused.err.find("beta 1.0 there, 0.5 now") != std::string::npos);
  const auto taken = run_vqkd(run, {"--steps", "3", "--beta", "0.5", "--resume", run.string()});
  CHECK(taken.code == 0);
  CHECK(taken.err.find("beta 1.0 there, 0.5 now") != std::string::npos);

  fs::resize_file(checkpoints(run).front(), 100);
  const auto older = run_vqkd(run, {"--steps", "3", "--max-damaged", "0.5"});
  CHECK(older.code == 0);
  const size_t warning = older.err.find("the checkpoint before it is tried");
  REQUIRE(warning != std::string::npos);
  CHECK(older.err.find("the checkpoint before it is tried", warning + 1) == std::string::npos);
  CHECK(older.out.find("resumed after step 2 of 3") != std::string::npos);
}

TEST_CASE("vqkd: --resume PATH never costs the run's own later checkpoints, nor ends before it began") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run", branch = folder.path / "branch";
  REQUIRE(run_vqkd(run, {"--steps", "2", "--checkpoint-every", "1"}).code == 0);
  const std::string first = checkpoints(run).back().string();
  const auto taken = [&](const fs::path& output, const char* steps, const std::string& from) {
    return run_vqkd(output, {"--steps", steps, "--resume", from});
  };
  const auto back = taken(run, "3", first);
  CHECK(failed(back));
  CHECK(back.err.find("got step-00000002.safetensors; leave --resume out") != std::string::npos);
  CHECK(checkpoints(run).size() == 2);

  REQUIRE(taken(branch, "3", first).code == 0);
  CHECK(failed(taken(branch, "3", first)));  // the same command again: its own step 3 stays
  CHECK(checkpoints(branch).front().filename() == "step-00000003.safetensors");

  const auto early = taken(folder.path / "early", "1", checkpoints(run).front().string());
  CHECK(failed(early));
  CHECK(early.err.find("at most 1 steps, got 2; raise --steps") != std::string::npos);
  CHECK(taken(run, "3", "a.pth").err.find("beit convert a.pth OUT.safetensors --optimizer") != std::string::npos);
}

TEST_CASE("vqkd: what a process left undone after its last checkpoint is made up for") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run";
  REQUIRE(run_vqkd(run, {"--steps", "2"}).code == 0);
  auto lines = figures_of(run);
  const auto figures = lines.back();
  lines.pop_back();
  std::ofstream log(run / "log.jsonl");
  for (const auto& line : lines) log << line.dump() << '\n';
  log.close();
  fs::remove(run / "model.safetensors");

  REQUIRE(run_vqkd(run, {"--steps", "2"}).code == 0);
  CHECK(fs::exists(run / "model.safetensors"));
  CHECK(figures_of(run).back() == figures);
}

TEST_CASE("vqkd: a signal stops a run after a step that it can go on from") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run";
  std::string line = "'" + program().string() + "' vqkd --data '" + demo_images("train") +
                     "' --teacher pixels --output '" + run.string() +
                     "' --codes 16 --code-dim 4 --batch-size 100 --epochs 10000 --min-lr 0 --device cpu";
  for (const std::string& word : kNetwork) line += " " + word;
  const auto err = folder.path / "err";
  line += " > /dev/null 2> '" + err.string() + "' & ";
  // The signal is sent once the first step is logged.
  line += "for i in $(seq 600); do [ -s '" + (run / "log.jsonl").string() + "' ] && break; sleep 0.1; done; ";
  const int status = std::system((line + "kill -TERM $!; wait $!").c_str());
  CAPTURE(text_of(err));
  CHECK(WEXITSTATUS(status) == 75);
  CHECK(text_of(err).find("which is saved; the same command goes on from there") != std::string::npos);
  CHECK(checkpoints(run).size() >= 1);
}

TEST_CASE("vqkd: cached features train as computed ones do, and are refused for other images") {
  const TemporaryFolder folder;
  const std::string cache = (folder.path / "features.safetensors").string();
  const fs::path computed = folder.path / "computed", cached = folder.path / "cached";
  REQUIRE(run_vqkd(computed, {"--min-crop", "1", "--steps", "4"}).code == 0);
  REQUIRE(run_vqkd(cached, {"--min-crop", "1", "--steps", "4", "--teacher-cache", cache}).code == 0);
  const double loss = figures_of(computed).front()["loss"], same = figures_of(cached).front()["loss"];
  CHECK(same == doctest::Approx(loss).epsilon(1e-3));

  const auto other =
      run_vqkd(folder.path / "other", {"--min-crop", "1", "--teacher-cache", cache, "--data", demo_images("test")});
  CHECK(failed(other));
  CHECK(other.err.find("expected features made for") != std::string::npos);
  CHECK(failed(run_vqkd(folder.path / "crop", {"--teacher-cache", cache})));
}

TEST_CASE("pretrain: a tokenizer serves a student of a finer grid at a larger view of its own") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run", tokenizer = folder.path / "tokenizer";
  REQUIRE(run_vqkd(tokenizer, {"--steps", "1"}).code == 0);
  const Words finer{"--patch-size", "4", "--steps", "1", "--tokenizer-image-size"};
  const auto with = [&](const std::string& size) {
    Words words = finer;
    words.push_back(size);
    return run_pretrain(run, tokenizer, words);
  };
  CHECK(failed(with("32")));
  CHECK(failed(with("63")));
  const auto ended = with("64");
  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  CHECK(ended.out.find("of 64 patches masked") != std::string::npos);
}

TEST_CASE("pretrain: a run does not go on with another tokenizer under the same path, unless it is told to") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run", tokenizer = folder.path / "tokenizer";
  REQUIRE(run_vqkd(tokenizer, {"--steps", "1"}).code == 0);
  REQUIRE(run_pretrain(run, tokenizer, {"--steps", "1"}).code == 0);
  REQUIRE(run_vqkd(tokenizer, {"--steps", "1", "--seed", "1", "--resume", "never"}).code == 0);
  const auto refused = run_pretrain(run, tokenizer, {"--steps", "2"});
  CAPTURE(refused.err);
  CHECK(failed(refused));
  CHECK(refused.err.find("got tokenizer 16 codes of width 4 (") != std::string::npos);
  const auto told = run_pretrain(run, tokenizer, {"--steps", "2", "--resume", run.string()});
  CHECK(told.code == 0);
  CHECK(told.err.find("made otherwise: tokenizer 16 codes of width 4 (") != std::string::npos);
}

TEST_CASE("training: mistakes end with one line that says what to do") {
  const TemporaryFolder folder;
  const fs::path run = folder.path / "run", tokenizer = folder.path / "tokenizer";
  REQUIRE(run_vqkd(tokenizer, {"--steps", "1"}).code == 0);
  const auto fails = [&](const Ended& ended, const char* part) {
    CAPTURE(ended.err);
    CHECK(failed(ended));
    CHECK(ended.err.find(part) != std::string::npos);
  };
  fails(run_vqkd(run, {"--batch-size", "6000"}), "make the batch smaller");
  fails(run_vqkd("/proc/run", {}), "choose another --output");
  fails(run_vqkd(run, {"--teacher", "clip"}), "--teacher-weights");
  fails(run_vqkd(tokenizer, {"--codes", "32"}), "codes 16 there, 32 now");
  fails(run_pretrain(tokenizer, tokenizer, {}), "apart from what is read");
  fails(run_pretrain(run, tokenizer, {"--patch-size", "4"}), "grid");
  fails(run_pretrain(run, tokenizer, {"--resume", checkpoints(tokenizer).front()}), "got one of `beit vqkd`");
  fs::remove_all(tokenizer / "checkpoints");
  fails(run_vqkd(tokenizer, {"--steps", "1"}), "got none to go on from");
  fails(run_pretrain(run, folder.path / "none", {}), "none");
  fails(run_pretrain(run, tokenizer, {"--masked-patches", "17"}), "--masked-patches");
}

}  // namespace
}  // namespace beit

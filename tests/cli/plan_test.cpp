#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/resources.h"
#include "io/checkpoint.h"
#include "tests/cli/background.h"
#include "tests/cli/segment_files.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// A configuration of 50 steps an epoch, in its folder; what trains it goes to `run` there.
struct Configured {
  TemporaryFolder root;
  fs::path config = root.path / "small.toml", run = root.path / "run";

  explicit Configured(const std::string& more = "") {
    const auto data = source_folder() / "demo/data/cifar10-small-train.tar";
    std::ofstream(config) << "data = [\"" << data.string() << "\"]\nimage-size = 32\npatch-size = 8\n"
                          << "width = 32\ndepth = 2\nheads = 2\nbatch-size = 100\nthreads = 1\ndevice = \"cpu\"\n"
                          << "[vqkd]\noutput = \"" << run.string() << "\"\nteacher = \"pixels\"\ncodes = 64\n"
                          << "code-dim = 4\nwarmup-epochs = 1\nmin-lr = 0\n"
                          << more;
  }
  Words plan(const Words& more) const {
    Words words{"plan", config.string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// What the program left beside the configuration.
  int64_t left() const { return std::distance(fs::directory_iterator(root.path), {}) - 1; }
};

Json planned(const Configured& configured, const Words& more) {
  Words words = configured.plan({"--json"});
  words.insert(words.end(), more.begin(), more.end());
  const auto ended = start(words);
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(configured.left() == 0);
  return Json::parse(ended.out);
}

/// The most memory that a live process took, in bytes; 0 where it has ended.
int64_t peak_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string word; file >> word;) {
    if (int64_t kilobytes = 0; word == "VmHWM:" && file >> kilobytes) return 1024 * kilobytes;
  }
  return 0;
}

TEST_CASE("plan: foretells the steps, the bytes on disk and the memory that the run then takes") {
  const Configured configured("epochs = 2\ncheckpoint-every = 20\nkeep-checkpoints = 1\nkeep-every = 40\n");
  const Json plan = planned(configured, {});
  int64_t peak = 0, most_bytes = 0;
  {
    Background training({"vqkd", "--config", configured.config.string()});
    while (training.runs()) {
      peak = std::max(peak, peak_of(training.process()));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    REQUIRE(training.wait() == 0);
  }
  const auto saved = checkpoints(configured.run);
  CHECK(saved.front().filename() == fmt::format("step-{:08d}.safetensors", plan["steps"].get<int>()));
  CHECK(plan["steps"] == 100);
  const auto near = [](const Json& value, double wanted, double share) {
    CAPTURE(value.get<double>());
    CAPTURE(wanted);
    CHECK(std::abs(value.get<double>() - wanted) <= share * wanted);
  };
  near(plan["checkpoint_bytes"], static_cast<double>(fs::file_size(saved.front())), 0.01);
  near(plan["weights_bytes"], static_cast<double>(fs::file_size(configured.run / "model.safetensors")), 0.01);
  near(plan["memory_bytes"], static_cast<double>(peak), 0.3);
  CHECK(plan["checkpoints"] == 3);  // of 80 and 40, and that of 100 being written
  CHECK(saved.size() == 3);         // 100, 80, 40
  for (const auto& path : saved) most_bytes += static_cast<int64_t>(fs::file_size(path));
  near(plan["disk_bytes"], static_cast<double>(most_bytes + plan["weights_bytes"].get<int64_t>()), 0.01);
  CHECK(plan["does_not_fit"].empty());

  // What is done needs neither time nor room again.
  const auto again = start(configured.plan({"--json", "--epochs", "3"}));
  REQUIRE(again.code == 0);
  const Json rest = Json::parse(again.out);
  CHECK(rest["steps"] == 150);
  CHECK(rest["steps_left"] == 50);
  CHECK(rest["disk_bytes_more"] < rest["disk_bytes"]);
}

TEST_CASE("plan: time is measured, and grows with the steps") {
  const Configured configured;
  const Json two = planned(configured, {"--epochs", "2", "--trial-steps", "3"});
  const Json many = planned(configured, {"--epochs", "2000", "--trial-steps", "3"});
  CHECK(two["step_s"].get<double>() > 0);
  CHECK(two["seconds"].get<double>() >= 100 * two["step_s"].get<double>());
  CHECK(many["seconds"].get<double>() > 100 * two["seconds"].get<double>());
  CHECK(planned(configured, {"--steps", "2", "--epochs", "9"})["steps"] == 2);  // fewer than the warm-up has
}

TEST_CASE("plan: says in a table what fits and what is not in it") {
  const Configured configured("val-data = [\"" + (source_folder() / "demo/data/cifar10-small-test.tar").string() +
                              "\"]\n");
  const auto ended = start(configured.plan({"--epochs", "2"}));
  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  for (const char* part :
       {"memory", "disk", "time", "100 steps of", "images/s", "  fits\n", "not included: validation on 2000 images"}) {
    CAPTURE(part);
    CHECK(ended.out.find(part) != std::string::npos);
  }
}

TEST_CASE("plan: what does not fit is an error that says what to try, after the table") {
  const Configured configured("epochs = 1000000\nkeep-every = 1\ncheckpoint-every = 1\n");
  const auto ended = start(configured.plan({}));
  CAPTURE(ended.err);
  CHECK(ended.code == 1);
  CHECK(ended.err.starts_with("beit: error: plan: the run does not fit: disk: needs "));
  CHECK(ended.err.find("--keep-every") != std::string::npos);
  CHECK(ended.out.find("does not fit: try ") != std::string::npos);
  CHECK(configured.left() == 0);
  const auto as_json = start(configured.plan({"--json"}));
  CHECK(as_json.code == 1);
  CHECK(Json::parse(as_json.out)["does_not_fit"] == Json{"disk"});
}

TEST_CASE("plan: fine-tuning and segmentation are planned as well, without weights and without a named size") {
  const Configured fine("[finetune]\noutput = \"run\"\nlayer-decay = 1\nwarmup-epochs = 1\n");
  CHECK(planned(fine, {"--section", "finetune", "--epochs", "2"})["steps"] == 100);
  const TemporaryFolder folder;
  write_rectangles(folder.path, 6);
  const auto config = folder.path / "small.toml";
  std::ofstream(config) << "[segment]\nseed = 1\n";
  Words words = segment_words(folder.path);
  words.front() = "plan";
  words.insert(words.end(), {config.string(), "--json", "--batch-size", "2", "--steps", "9", "--output",
                             (folder.path / "run").string()});
  const auto ended = start(words);
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(Json::parse(ended.out)["steps"] == 9);

  // Whoever counts in epochs means these, not the published 160,000 steps.
  std::erase(words, "--steps");
  std::erase(words, "9");
  words.insert(words.end(), {"--epochs", "4"});
  const auto in_epochs = Json::parse(start(words).out);
  CHECK(in_epochs["steps"] == 4 * in_epochs["steps_per_epoch"].get<int64_t>());
}

TEST_CASE("plan: a mistake is the command's own error, and nothing is left behind") {
  const Configured configured;
  const auto refused = [&](const Words& words, const std::string& message) {
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(ended.code == 1);
    CHECK(ended.err.starts_with("beit: error: "));
    CHECK(std::ranges::count(ended.err, '\n') == 1);
    CHECK(ended.err.find(message) != std::string::npos);
    CHECK(configured.left() == 0);
  };
  refused(configured.plan({"--output", ""}), "set --output");
  refused(configured.plan({"--data", "/none"}), "/none");
  refused(configured.plan({"--batch-size", "6000"}), "make the batch smaller");
  refused(configured.plan({"--teacher", "clip"}), "--teacher-weights");
  refused(configured.plan({"--section", "pretrain"}), "set --tokenizer");
  refused(configured.plan({"--batch", "3"}), "unknown flag '--batch'");
  refused(configured.plan({"--trial-steps", "0"}), "--trial-steps: expected a whole number");
  refused({"plan"}, "say `beit plan CONFIG`");
  refused({"plan", "/none.toml"}, "/none.toml: expected a configuration file");
}

TEST_CASE("plan: the section is the one that the file has") {
  const TemporaryFolder root;
  const auto config = root.path / "a.toml";
  std::ofstream(config) << "[vqkd]\nlr = 1\n[pretrain]\nlr = 1\n";
  CHECK(start({"plan", config.string()}).err.find("got several; say which by --section") != std::string::npos);
  std::ofstream(config) << "lr = 1\n";
  CHECK(start({"plan", config.string()}).err.find("got none; say which by --section") != std::string::npos);
  CHECK(start({"plan", "--help"}).out.find("--trial-steps") != std::string::npos);
  CHECK(start({"help", "plan"}).out.find("CONFIG") != std::string::npos);
}

/// The process that a plan has started; 0 while there is none.
pid_t trial_of(pid_t plan) {
  pid_t child = 0;
  std::ifstream(fmt::format("/proc/{0}/task/{0}/children", plan)) >> child;
  return child;
}

const Words kLong{"--trial-steps", "100000", "--epochs", "100000"};

TEST_CASE("plan: a signal ends it and its trial, and nothing is left behind") {
  const Configured configured;
  Background plan(configured.plan(kLong));
  pid_t trial = 0;
  plan.until([&] { return (trial = trial_of(plan.process())) > 0 && configured.left() == 1; });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  plan.signal(SIGTERM);
  CHECK(plan.wait() == 75);
  CHECK(text_of(plan.err()).find("stopped by a signal") != std::string::npos);
  CHECK(configured.left() == 0);
  CHECK(::kill(trial, 0) != 0);
}

TEST_CASE("plan: a trial that the kernel kills for its memory says so; a killed plan takes its trial along") {
  const Configured configured;
  {
    Background plan(configured.plan(kLong));
    pid_t trial = 0;
    plan.until([&] { return (trial = trial_of(plan.process())) > 0; });
    ::kill(trial, SIGKILL);
    CHECK(plan.wait() == 1);
    CHECK(text_of(plan.err()).find("which the kernel does where memory runs out; try a smaller --batch-size") !=
          std::string::npos);
    CHECK(configured.left() == 0);
  }
  Background plan(configured.plan(kLong));
  pid_t trial = 0;
  plan.until([&] { return (trial = trial_of(plan.process())) > 0; });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  plan.signal(SIGKILL);
  plan.wait();
  for (int tries = 0; tries < 500 && peak_of(trial) > 0; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(peak_of(trial) == 0);
}

TEST_CASE("plan: knows what there is of memory and disk") {
  const auto memory = available_memory(), disk = available_disk("/none/of/these");
  REQUIRE(memory);
  CHECK(*memory > 1 << 20);
  REQUIRE(disk);
  CHECK(*disk == doctest::Approx(static_cast<double>(*available_disk("/"))).epsilon(0.1));
  CHECK(nearest_folder("/none/of/these") == "/");
  CHECK(nearest_folder(fs::temp_directory_path() / "a/b") == nearest_folder(fs::temp_directory_path()));
}

}  // namespace
}  // namespace beit

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/run_state.h"
#include "tests/cli/background.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kStart =
    R"({"event":"start","step":0,"steps":90,"steps_per_epoch":30,"epochs":3,"batch_size":64,"images":1930,)"
    R"("device":"cuda:0","precision":"bf16","ranks":2,"threads":2,"processor":"x","version":"0.1.0"})"
    "\n";
const std::string kStep = R"({"step":40,"epoch":2,"loss":2.5,"mlm_acc_1":0.25,"lr":1e-3,"images_per_s":800.0})"
                          "\n";

void put_run(const fs::path& folder, const std::string& log, const std::string& command = "pretrain",
             const std::string& options = "epochs = 3\nbatch-size = 64\ndevice = \"auto\"\n") {
  fs::create_directories(folder);
  std::ofstream(folder / "config.toml") << "[" << command << "]\n" << options;
  std::ofstream(folder / "log.jsonl") << log;
}

RunState state_of(const std::string& log) {
  const TemporaryFolder root;
  put_run(root.path, log);
  return run_state(root.path);
}

std::string end_line(const std::string& state, const std::string& message) {
  return R"({"event":"end","step":40,"state":")" + state + R"(","message":")" + message + "\"}\n";
}

TEST_CASE("runs: the log's end says what became of a run") {
  CHECK(state_of("").stage == RunStage::kEmpty);
  CHECK(state_of(kStart).stage == RunStage::kKilled);
  CHECK(state_of(kStart + kStep).stage == RunStage::kKilled);
  CHECK(state_of(kStart + kStep + end_line("finished", "")).stage == RunStage::kFinished);
  CHECK(state_of(kStart + kStep + end_line("stopped", "after step 40")).stage == RunStage::kStopped);
  const RunState failed = state_of(kStart + kStep + end_line("failed", "training: expected a finite loss"));
  CHECK(failed.stage == RunStage::kFailed);
  CHECK(failed.message == "training: expected a finite loss");
  // It went on after that, and was killed.
  const RunState again = state_of(kStart + kStep + end_line("failed", "x") + R"({"event":"resume","step":40})" + "\n");
  CHECK(again.stage == RunStage::kKilled);
  CHECK(again.message.empty());
}

TEST_CASE("runs: figures are the last ones, and a line that is being written is none") {
  const RunState run =
      state_of(kStart + R"({"event":"epoch","epoch":1,"step":30,"val_masked_accuracy":0.5})" + "\n" +
               R"({"event":"epoch","epoch":1,"step":30})" + "\n" + kStep + R"({"step":99,"epoch":3,"lo)");
  CHECK(run.command == "pretrain");
  CHECK(run.step == 40);
  CHECK(run.steps == 90);
  CHECK(run.epoch == 2);
  CHECK(run.epochs == 3);
  CHECK(*run.loss == 2.5);
  CHECK(run.images_per_s == 800);
  CHECK(run.device == "cuda:0");
  CHECK(run.precision == "bf16");
  CHECK(run.ranks == 2);
  REQUIRE(run.figure);
  CHECK(run.figure->name == "val_masked_accuracy");
  CHECK(run.figure->value == 0.5);
  CHECK(!run.seconds_left);  // nobody works on it
  CHECK(state_of(kStart + kStep).figure->name == "mlm_acc_1");
  CHECK(!state_of("{\"step\":1,\"epoch\":1,\"loss\":null}\nno JSON\n[]\n").loss);
}

TEST_CASE("runs: the figure of fine-tuning is its top-1, of segmentation its mean IoU, over validation data") {
  const std::string later = R"({"event":"epoch","epoch":2,"step":60})"
                            "\n";
  for (const char* key : {"val_top1", "val_miou"}) {
    CAPTURE(key);
    const auto epoch = fmt::format(R"({{"event":"epoch","epoch":1,"step":30,"val_loss":1.5,"{}":75.5}})", key) + "\n";
    const RunState run = state_of(kStart + epoch + later + kStep);
    REQUIRE(run.figure);
    CHECK(run.figure->name == key);
    CHECK(run.figure->value == 75.5);
  }
  const TemporaryFolder root;
  put_run(root.path, kStart + R"({"event":"epoch","epoch":1,"step":30,"val_top1":75,"ema_val_top1":80})" + "\n",
          "finetune");
  CHECK(start({"runs", root.path.string()}).out.find("val_top1 75.0%") != std::string::npos);
}

TEST_CASE("runs: the figure of a pixel decoder is its PSNR, in decibels") {
  const TemporaryFolder root;
  const std::string step = R"({"step":40,"epoch":2,"loss":0.02,"psnr":17.25,"lr":1e-3})"
                           "\n";
  put_run(root.path, kStart + step, "decode");
  CHECK(run_state(root.path).figure->name == "psnr");
  put_run(root.path, kStart + R"({"event":"epoch","epoch":1,"step":30,"val_psnr":21.5,"val_ssim":0.5})" + "\n" + step,
          "decode");
  CHECK(start({"runs", root.path.string()}).out.find("val_psnr 21.5 dB") != std::string::npos);
}

TEST_CASE("runs: a log without its beginning and its end tells what it can") {
  const TemporaryFolder root;
  put_run(root.path,
          R"({"event":"epoch","epoch":2,"step":60,"usage_percent":75.0})"
          "\n",
          "vqkd");
  const RunState run = run_state(root.path);
  CHECK(run.command == "vqkd");
  CHECK(run.steps == 90);
  CHECK(run.device == "auto");
  CHECK(run.figure->value == 75);
  put_run(root.path, R"({"step":90,"epoch":3,"loss":1.0})"
                     "\n"
                     R"({"event":"epoch","epoch":3,"step":90})"
                     "\n");
  CHECK(run_state(root.path).stage == RunStage::kKilled);
  std::ofstream(root.path / "model.safetensors") << "x";
  CHECK(run_state(root.path).stage == RunStage::kFinished);
}

TEST_CASE("runs: the log of weeks is read from both ends") {
  const TemporaryFolder root;
  std::string log = kStart;
  while (log.size() < (40 << 20)) log += kStep;
  put_run(root.path, log + R"({"step":77,"epoch":3,"loss":0.5})"
                           "\n");
  const auto before = std::chrono::steady_clock::now();
  const RunState run = run_state(root.path);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(2));
  CHECK(run.step == 77);
  CHECK(run.steps == 90);
  CHECK(run.bytes > 40 << 20);
}

TEST_CASE("runs: are found below a folder, each once, wherever links lead") {
  const TemporaryFolder root;
  for (const char* name : {"b/tokenizer", "b/pretrain", "a"}) put_run(root.path / name, kStart);
  fs::create_directories(root.path / "c");
  std::ofstream(root.path / "c/config.toml") << "[vqkd]\n";
  fs::create_directory_symlink(root.path, root.path / "b/circle");
  fs::create_directory_symlink(root.path / "b", root.path / "z");
  const std::vector<fs::path> expected{root.path / "a", root.path / "b/pretrain", root.path / "b/tokenizer"};
  CHECK(find_runs(root.path) == expected);
  CHECK(find_runs(root.path / "a") == std::vector{root.path / "a"});
  CHECK(find_runs(root.path / "c").empty());
  CHECK_THROWS_WITH_AS(find_runs(root.path / "none"), doctest::Contains("expected a folder with runs"), Error);
}

TEST_CASE("runs: table and JSON name every run of several folders") {
  const TemporaryFolder root;
  put_run(root.path / "one", kStart + kStep + end_line("failed", std::string(100, 'e')));
  put_run(root.path / "two/inner", kStart + kStep, "vqkd");
  const auto one = (root.path / "one").string(), two = (root.path / "two").string();
  const auto shown = start({"runs", one, two});
  CAPTURE(shown.err);
  CHECK(shown.code == 0);
  CHECK(std::ranges::count(shown.out, '\n') == 3);
  for (const std::string& part :
       {one, two + "/inner", std::string("failed"), std::string("killed"), std::string("40/90"), std::string("2/3"),
        std::string("mlm_acc_1 25.0%"), std::string("cuda:0 bf16, 2 ranks"), std::string(60, 'e') + "..."}) {
    CAPTURE(part);
    CHECK(shown.out.find(part) != std::string::npos);
  }
  const auto as_json = start({"runs", "--json", one, two, one});
  CHECK(as_json.code == 0);
  const Json runs = Json::parse(as_json.out);
  REQUIRE(runs.size() == 2);
  CHECK(runs[0]["name"] == one);
  CHECK(runs[0]["state"] == "failed");
  CHECK(runs[0]["figure"]["value"] == 0.25);
  CHECK(runs[1]["seconds_left"].is_null());
  CHECK(Json::parse(start({"runs", "--json", (root.path / "two/inner/..").string()}).out).size() == 1);

  fs::create_directories(root.path / "none");
  CHECK(start({"runs", (root.path / "none").string()}).out.starts_with("no runs"));
  CHECK(start({"runs", "--json", (root.path / "none").string()}).out == "[]\n");
  CHECK(failed_with_one_line(start({"runs"})));
  CHECK(failed_with_one_line(start({"runs", (root.path / "nowhere").string()})));
}

TEST_CASE("runs: a live run is running, says who runs it and how long it takes; killed, it is killed") {
  const TemporaryFolder root;
  const fs::path run = root.path / "run";
  const std::vector<std::string> words{"vqkd",
                                       "--data",
                                       (source_folder() / "demo/data/cifar10-small-train.tar").string(),
                                       "--teacher",
                                       "pixels",
                                       "--output",
                                       run.string(),
                                       "--codes",
                                       "16",
                                       "--code-dim",
                                       "4",
                                       "--batch-size",
                                       "100",
                                       "--epochs",
                                       "10000",
                                       "--min-lr",
                                       "0",
                                       "--device",
                                       "cpu",
                                       "--width",
                                       "16",
                                       "--depth",
                                       "2",
                                       "--heads",
                                       "2",
                                       "--log-every",
                                       "1",
                                       "--image-size",
                                       "32",
                                       "--patch-size",
                                       "8",
                                       "--checkpoint-every",
                                       "3"};
  Background training(words);
  training.until([&] { return text_of(run / "log.jsonl").find("\"step\":4") != std::string::npos; });
  const RunState now = run_state(run);
  CHECK(now.stage == RunStage::kRunning);
  CHECK(now.holder->process == training.process());
  CHECK(now.holder->command.starts_with("beit vqkd --data "));
  CHECK(now.step >= 4);
  CHECK(now.seconds_left.value_or(0) > 0);
  CHECK(now.bytes > 0);
  const auto refused = start(words);
  CHECK(refused.code == 1);
  CHECK(refused.err.find("held by process " + std::to_string(training.process())) != std::string::npos);
  CHECK(refused.err.find("(`beit vqkd --data ") != std::string::npos);

  training.signal(SIGKILL);
  training.wait();
  const RunState after = run_state(run);
  CHECK(after.stage == RunStage::kKilled);
  CHECK(!after.holder);
  CHECK(after.step >= now.step);
}

}  // namespace
}  // namespace beit

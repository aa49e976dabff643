#include "cli/trial.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/stopped.h"
#include "cli/interrupt.h"
#include "cli/resources.h"
#include "cli/run_config.h"
#include "io/checkpoint.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kWarmUpSteps = 2;

/// Removed with all that is in it.
class TrialFolder {
 public:
  explicit TrialFolder(const fs::path& output) {
    std::error_code ignored;
    for (const fs::path& place : {nearest_folder(output.parent_path()), fs::temp_directory_path(ignored)}) {
      std::string name = (place / ".beit-plan-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) continue;
      path_ = name;
      return;
    }
    fail("plan: expected a place to try the run in, got \"{}\"; choose another --output", std::strerror(errno));
  }
  ~TrialFolder() {
    std::error_code error;
    // Processes that were killed a moment ago may still be at work in it.
    for (int tries = 0; tries < 50; ++tries) {
      fs::remove_all(path_, error);
      if (!error) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The configuration of the trial: that of the run, but for how long, where to and how often.
std::string trial_config(const Command& command, const fs::path& output, int64_t steps) {
  const std::string before = to_json(command.options);
  std::error_code ignored;
  for (const Option& option : command.options) {
    const auto put = [&](const std::vector<std::string>& words) { set(option, words, "plan"); };
    if (option.name == "output" && !shown(option).empty()) put({output.string()});
    if (option.name == "steps" || option.name == "checkpoint-every") put({std::to_string(steps)});
    if (option.name == "keep-every") put({"0"});  // need not be a multiple of these
    if (option.name == "log-every") put({"1"});
    if (option.name == "resume") put({"auto"});
    if (option.name == "teacher-cache" && !fs::exists(shown(option), ignored)) put({""});
    if (option.name == "val-data" || option.name == "val-labels") put({});
  }
  const std::string text = config_toml(command.name, command.options);
  from_json(command.options, before, "plan");
  return text;
}

struct Ended {
  int status = 0;  // as waitpid gives it
  int64_t most_bytes = 0;
};

/// Runs this program with the words, what it prints going to the files. Killed, with all that it started, once
/// `stopped` says so.
Ended run_child(const std::vector<std::string>& words, const fs::path& out, const fs::path& err,
                const std::function<bool()>& stopped) {
  std::vector<std::string> all{"beit"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : all) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  require(child >= 0, "plan: expected to start the trial run, got \"{}\"", std::strerror(errno));
  if (child == 0) {  // nothing but system calls until exec: other threads' locks are held forever here
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int none = ::open("/dev/null", O_RDONLY), to_out = ::open(out.c_str(), O_WRONLY | O_CREAT, 0600),
              to_err = ::open(err.c_str(), O_WRONLY | O_CREAT, 0600);
    const bool ready =
        ::getppid() == parent && ::dup2(none, 0) >= 0 && ::dup2(to_out, 1) >= 0 && ::dup2(to_err, 2) >= 0;
    if (ready) ::execv("/proc/self/exe", arguments.data());
    ::_exit(127);
  }
  ::setpgid(child, child);  // whoever comes first; so that a kill never comes too early
  Ended ended;
  rusage usage{};
  for (pid_t waited = 0; waited != child;) {
    waited = ::wait4(child, &ended.status, WNOHANG, &usage);
    if (waited == child) break;
    if (stopped()) {
      ::kill(-child, SIGKILL);
      ::wait4(child, &ended.status, 0, &usage);
      throw Stopped("plan: stopped by a signal, the trial run is removed");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ended.most_bytes = int64_t{1024} * usage.ru_maxrss;
  return ended;
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What the program said last as its error; empty without.
std::string error_of(const fs::path& err) {
  constexpr std::string_view kError = "beit: error: ";
  const std::string text = text_of(err);
  const size_t at = text.rfind(kError);
  return at == std::string::npos ? "" : text.substr(at + kError.size(), text.find('\n', at) - at - kError.size());
}

void require_done(const Command& command, const Ended& ended, const fs::path& err) {
  if (WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0) return;
  std::string message = error_of(err);
  if (message.starts_with("out of memory"))
    message =
        fmt::format("{}: the trial run needs more memory than there is; try {}", command.name, less_memory(command));
  require(message.empty(), "{}", message);
  const int signal = WIFSIGNALED(ended.status) ? WTERMSIG(ended.status) : 0;
  require(signal != SIGKILL,
          "plan: expected the trial run of `beit {}` to end, got it killed after it took {:.2f} GB, which the kernel "
          "does where memory runs out; try {}",
          command.name, static_cast<double>(ended.most_bytes) / 1e9, less_memory(command));
  require(signal == 0, "plan: expected the trial run of `beit {}` to end, got signal {} ({})", command.name, signal,
          ::strsignal(signal));
  fail("plan: expected the trial run of `beit {}` to end well, got exit code {}", command.name,
       WEXITSTATUS(ended.status));
}

std::vector<Json> log_of(const fs::path& path) {
  std::vector<Json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false); entry.is_object()) lines.push_back(entry);
  }
  return lines;
}

/// What the log says of the run and of each step; `peak` is the most memory of a step.
void read_log(const fs::path& path, Trial& trial, int64_t& peak) {
  for (const Json& line : log_of(path)) {
    const std::string event = line.value("event", "");
    if (event == "start") {
      trial.device = line.value("device", "");
      trial.precision = line.value("precision", "");
      trial.ranks = line.value("ranks", int64_t{1});
      trial.threads = line.value("threads", int64_t{0});
      trial.images = line.value("images", int64_t{0});
      trial.batch_size = line.value("batch_size", int64_t{0});
      trial.steps_per_epoch = line.value("steps_per_epoch", int64_t{0});
    } else if (event == "checkpoint") {
      trial.pause_s = std::max(trial.pause_s, line.value("pause_s", 0.0));
    } else if (event.empty() && line.contains("images_per_s") && line["images_per_s"].is_number()) {
      peak = std::max(peak, line.value("memory_bytes", int64_t{0}));
      trial.step_s.push_back(static_cast<double>(trial.batch_size) / line["images_per_s"].get<double>());
      if (line.contains("data_wait")) trial.data_wait.push_back(line["data_wait"].get<double>());
    }
  }
  for (auto* figures : {&trial.step_s, &trial.data_wait}) {
    const int64_t warm_up = std::clamp<int64_t>(std::ssize(*figures) - 1, 0, kWarmUpSteps);
    figures->erase(figures->begin(), figures->begin() + warm_up);
  }
}

}  // namespace

std::string less_memory(const Command& command) {
  const bool has_parts = std::ranges::find(command.options, "accumulate", &Option::name) != command.options.end();
  return fmt::format("a smaller --batch-size, {}or --recompute", has_parts ? "--accumulate 2 or more, " : "");
}

Trial run_trial(const Command& command, int64_t steps) {
  const auto stopped = stop_on_signal();
  const TrialFolder folder(value_of<std::string>(command, "output"));
  const int64_t limit = value_of<int64_t>(command, "steps"), wanted = kWarmUpSteps + steps;
  const fs::path config = folder.path() / "trial.toml", run = folder.path() / "run", err = folder.path() / "err";
  std::ofstream(config) << trial_config(command, run, limit > 0 ? std::min(limit, wanted) : wanted);
  const Ended ended = run_child({command.name, "--config", config.string()}, folder.path() / "out", err, stopped);
  require_done(command, ended, err);

  Trial trial{.less_memory = less_memory(command)};
  int64_t peak = 0;
  read_log(run / "log.jsonl", trial, peak);
  require(trial.steps_per_epoch > 0 && !trial.step_s.empty(),
          "plan: expected the trial run to log its start and its steps, got neither");
  for (const auto& entry : fs::directory_iterator(run)) {
    if (entry.path().extension() == ".safetensors") trial.weights_bytes += static_cast<int64_t>(entry.file_size());
  }
  const auto saved = checkpoints(run);
  require(!saved.empty(), "plan: expected a checkpoint of the trial run, got none");
  trial.checkpoint_bytes = static_cast<int64_t>(fs::file_size(saved.front()));
  // A checkpoint is written from a copy beside the steps that follow; the trial's was made after the last.
  const bool on_gpu = trial.device.starts_with("cuda");
  const int64_t before = peak > 0 && !on_gpu ? peak : ended.most_bytes;
  trial.memory_bytes = std::max(ended.most_bytes, before + trial.checkpoint_bytes);
  trial.device_memory_bytes = on_gpu ? peak : 0;
  return trial;
}

}  // namespace beit

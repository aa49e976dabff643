#include "cli/run_state.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "cli/settings.h"
#include "io/last_lines.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// What any program may have written is read without trust in its types.
std::optional<double> number(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

int64_t whole(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

std::string words(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

/// What tells of each command's runs how well they go, over --val-data.
constexpr std::array kValidated{"val_top1", "val_miou", "val_masked_accuracy", "val_usage_percent", "val_psnr"};

/// What the log says last of each kind; null where nothing.
struct LastLines {
  Json step, epoch, validated, begun, ended;
  bool over = false;  // the end is said, and nothing after it
};

LastLines last_lines(const fs::path& log) {
  constexpr int64_t kMostBytes = 16 << 20, kHeadBytes = 1 << 16;
  LastLines last;
  bool newest = true;
  read_last_lines(log, kMostBytes, [&](std::string_view text) {
    const bool is_event = text.find("\"event\"") != std::string_view::npos;
    if (!is_event && !last.step.is_null()) return true;
    Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) return true;
    const std::string event = words(line, "event");
    if (event == "end") {
      last.over = last.over || newest;
      if (last.ended.is_null()) last.ended = line;
    } else if (event == "start" || event == "resume") {
      if (last.begun.is_null() && line.contains("steps")) last.begun = line;
    } else if (event == "epoch") {
      if (last.epoch.is_null()) last.epoch = line;
      const bool has_figures = std::ranges::any_of(kValidated, [&](const char* key) { return line.contains(key); });
      if (last.validated.is_null() && has_figures) last.validated = line;
    } else if (event.empty() && line.contains("loss")) {
      last.step = line;
    }
    newest = false;
    return last.step.is_null() || last.validated.is_null() || last.begun.is_null();
  });
  std::ifstream file(log, std::ios::binary);
  std::string line;
  for (int64_t read = 0; last.begun.is_null() && read < kHeadBytes && std::getline(file, line);) {
    read += std::ssize(line) + 1;
    Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && words(entry, "event") == "start") last.begun = std::move(entry);
  }
  return last;
}

/// The command's name and its options as texts; nothing of a damaged file.
std::pair<std::string, std::map<std::string, std::string>> configuration(const fs::path& path) try {
  std::string command;
  std::map<std::string, std::string> options;
  for (const Setting& setting : read_settings(path)) {
    command = setting.section;
    if (setting.words.size() == 1) options[setting.key] = setting.words.front();
  }
  return {command, options};
} catch (const Error&) {
  return {};
}

int64_t whole(const std::map<std::string, std::string>& options, const char* key) {
  const auto found = options.find(key);
  int64_t value = 0;
  if (found != options.end()) std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

std::string words(const std::map<std::string, std::string>& options, const char* key) {
  const auto found = options.find(key);
  return found == options.end() ? "" : found->second;
}

/// How many steps the run takes in all. A log without its beginning tells by its epochs; 0: it does not tell.
int64_t all_steps(const LastLines& last, const std::map<std::string, std::string>& options) {
  if (const int64_t steps = whole(last.begun, "steps"); steps > 0) return steps;
  const int64_t step = whole(last.epoch, "step"), epoch = whole(last.epoch, "epoch"), limit = whole(options, "steps");
  if (limit > 0) return limit;
  return epoch > 0 && step % epoch == 0 ? step / epoch * whole(options, "epochs") : 0;
}

std::optional<RunFigure> figure_of(const LastLines& last) {
  for (const char* key : kValidated) {
    if (const auto value = number(last.validated, key)) return RunFigure{key, *value};
  }
  for (const auto& [line, key] :
       {std::pair(&last.step, "mlm_acc_1"), std::pair(&last.epoch, "usage_percent"), std::pair(&last.step, "psnr")}) {
    if (const auto value = number(*line, key)) return RunFigure{key, *value};
  }
  return std::nullopt;
}

RunStage stage_of(const LastLines& last, const RunState& run) {
  const bool begun = !last.begun.is_null() || !last.step.is_null();
  if (run.holder) return last.step.is_null() ? RunStage::kStarting : RunStage::kRunning;
  if (last.over) {
    const std::string state = words(last.ended, "state");
    return state == "finished" ? RunStage::kFinished : state == "stopped" ? RunStage::kStopped : RunStage::kFailed;
  }
  std::error_code ignored;
  const bool complete = run.steps > 0 && run.step >= run.steps && fs::exists(run.folder / "model.safetensors", ignored);
  return complete ? RunStage::kFinished : begun ? RunStage::kKilled : RunStage::kEmpty;
}

int64_t bytes_below(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code error, ignored;
  for (fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && at != end; at.increment(error)) {
    struct stat status {};
    if (::lstat(at->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) bytes += status.st_size;
  }
  return bytes;
}

bool is_run(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.toml", ignored) && fs::is_regular_file(folder / "log.jsonl", ignored);
}

using Visited = std::set<std::pair<dev_t, ino_t>>;

void find_below(const fs::path& folder, int levels, Visited& visited, std::vector<fs::path>& found) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0 || !visited.emplace(status.st_dev, status.st_ino).second) return;
  if (is_run(folder)) found.push_back(folder);
  if (levels == 0) return;
  std::vector<fs::path> inner;
  std::error_code error, ignored;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->is_directory(ignored)) inner.push_back(at->path());
  }
  if (error) log().warn("{}: passed over, \"{}\"", folder.string(), error.message());
  std::ranges::sort(inner);
  for (const fs::path& path : inner) find_below(path, levels - 1, visited, found);
}

}  // namespace

std::string readable(RunStage stage) {
  switch (stage) {
    case RunStage::kEmpty: return "empty";
    case RunStage::kStarting: return "starting";
    case RunStage::kRunning: return "running";
    case RunStage::kFinished: return "finished";
    case RunStage::kStopped: return "stopped";
    case RunStage::kFailed: return "failed";
    case RunStage::kKilled: return "killed";
  }
  return "";
}

std::vector<fs::path> find_runs(const fs::path& folder) {
  constexpr int kLevels = 8;
  std::error_code ignored;
  require(fs::is_directory(folder, ignored), "{}: expected a folder with runs, got {}", folder.string(),
          fs::exists(folder, ignored) ? "a file" : "nothing there");
  std::vector<fs::path> found;
  Visited visited;
  find_below(folder, kLevels, visited, found);
  return found;
}

RunState run_state(const fs::path& folder) {
  RunState run{.folder = folder, .holder = holder_of(folder)};
  const LastLines last = last_lines(folder / "log.jsonl");
  const auto [command, options] = configuration(folder / "config.toml");
  run.command = command;
  run.step = std::max({whole(last.step, "step"), whole(last.epoch, "step"), whole(last.begun, "step")});
  run.steps = all_steps(last, options);
  run.epoch = std::max(whole(last.step, "epoch"), whole(last.epoch, "epoch"));
  run.epochs = last.begun.contains("epochs") ? whole(last.begun, "epochs") : whole(options, "epochs");
  run.loss = number(last.step, "loss");
  run.figure = figure_of(last);
  run.images_per_s = number(last.step, "images_per_s").value_or(0);
  run.stage = stage_of(last, run);
  if (run.stage == RunStage::kFailed || run.stage == RunStage::kStopped) run.message = words(last.ended, "message");
  if (run.stage == RunStage::kRunning) {
    const auto batch = static_cast<double>(whole(options, "batch-size"));
    run.seconds_left = number(last.step, "seconds_left");
    if (!run.seconds_left && run.steps > 0 && run.images_per_s > 0)
      run.seconds_left = static_cast<double>(run.steps - run.step) * batch / run.images_per_s;
  }
  struct stat status {};
  if (::stat((folder / "log.jsonl").c_str(), &status) == 0) run.changed = status.st_mtim.tv_sec;
  run.bytes = bytes_below(folder);
  run.device = last.begun.contains("device") ? words(last.begun, "device") : words(options, "device");
  run.precision = last.begun.contains("precision") ? words(last.begun, "precision") : words(options, "precision");
  run.ranks = last.begun.contains("ranks") ? whole(last.begun, "ranks") : whole(options, "ranks");
  return run;
}

nlohmann::ordered_json to_json(const RunState& run) {
  using Object = nlohmann::ordered_json;
  const auto known = [](const auto& value) { return value ? Object(*value) : Object(nullptr); };
  const auto positive = [](auto value) { return value > 0 ? Object(value) : Object(nullptr); };
  const auto said = [](const std::string& text) { return text.empty() ? Object(nullptr) : Object(text); };
  Object object{{"name", run.folder.string()},
                {"command", said(run.command)},
                {"state", readable(run.stage)},
                {"message", said(run.message)},
                {"step", run.step},
                {"steps", positive(run.steps)},
                {"epoch", run.epoch},
                {"epochs", positive(run.epochs)},
                {"loss", known(run.loss)},
                {"figure", nullptr},
                {"images_per_s", positive(run.images_per_s)},
                {"seconds_left", known(run.seconds_left)},
                {"changed", positive(run.changed)},
                {"bytes", run.bytes},
                {"device", said(run.device)},
                {"precision", said(run.precision)},
                {"ranks", positive(run.ranks)},
                {"held_by", nullptr}};
  if (run.figure) object["figure"] = {{"name", run.figure->name}, {"value", run.figure->value}};
  if (run.holder) {
    object["held_by"] = {{"process", run.holder->process},
                         {"host", run.holder->host},
                         {"command", run.holder->command},
                         {"started", run.holder->started}};
  }
  return object;
}

}  // namespace beit

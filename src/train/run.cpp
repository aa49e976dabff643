#include "train/run.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "io/atomic_file.h"
#include "io/weights.h"
#include "train/shared_checkpoint.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Options that may change while a run goes on: how long, how fast, how often, and where.
constexpr std::array<std::string_view, 37> kMayChange{"output",
                                                      "epochs",
                                                      "steps",
                                                      "lr",
                                                      "min-lr",
                                                      "warmup-epochs",
                                                      "weight-decay",
                                                      "beta1",
                                                      "beta2",
                                                      "workers",
                                                      "threads",
                                                      "device",
                                                      "checkpoint-every",
                                                      "keep-checkpoints",
                                                      "clip-grad",
                                                      "log-every",
                                                      "quiet",
                                                      "val-data",
                                                      "teacher-cache",
                                                      "val-every",
                                                      "resume",
                                                      "max-damaged",
                                                      "keep-every",
                                                      "retries",
                                                      "ranks",
                                                      "rank-timeout",
                                                      "shard-optimizer",
                                                      "accumulate",
                                                      "recompute",
                                                      "events-every",
                                                      "lr-schedule",
                                                      "warmup-steps",
                                                      "val-labels",
                                                      "layer-decay",
                                                      "stride",
                                                      "flip",
                                                      "scale"};

bool may_change(std::string_view option) {
  return std::find(kMayChange.begin(), kMayChange.end(), option) != kMayChange.end();
}

Json parsed(const std::string& text) { return Json::parse(text, nullptr, /*allow_exceptions=*/false); }

std::string value_of(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

/// "codes 16 there, 32 now; depth 2 there, 3 now" of the options that differ, of those that may or of those that may
/// not; empty without.
std::string differences(const std::string& there, const std::string& here, bool allowed) {
  const Json before = parsed(there), now = parsed(here);
  constexpr std::array<std::string_view, 3> kOfNoMatter{"output", "resume", "quiet"};
  if (!before.is_object() || !now.is_object()) return "";
  std::string text;
  for (const auto& [name, value] : now.items()) {
    const auto old = before.find(name);
    if (old == before.end() || *old == value || may_change(name) != allowed) continue;
    if (std::ranges::find(kOfNoMatter, name) != kOfNoMatter.end()) continue;
    text += fmt::format("{}{} {} there, {} now", text.empty() ? "" : "; ", name, old->dump(), value.dump());
  }
  return text;
}

bool is_pickled(const fs::path& path) {
  return path.extension() == ".pth" || path.extension() == ".pt" || path.extension() == ".bin";
}

/// The newest checkpoint of a run folder that can be read; nothing where there is none at all.
std::optional<Checkpoint> newest_readable(const fs::path& folder) {
  const auto paths = checkpoints(folder);
  for (const fs::path& path : paths) {
    try {
      return read_checkpoint(path);
    } catch (const Error& error) {
      log().warn("{}; the checkpoint before it is tried", error.what());
    }
  }
  require(paths.empty(), "{}: expected a checkpoint that can be read, got {} damaged; --resume never starts anew",
          folder.string(), paths.size());
  return std::nullopt;
}

/// The lines of a log up to `step`. What a killed process left of a line is dropped too.
std::string lines_until(const fs::path& path, int64_t step) {
  std::string kept, line;
  std::ifstream file(path);
  while (step > 0 && std::getline(file, line)) {
    const auto entry = parsed(line);
    if (entry.is_object() && entry.value("step", int64_t{0}) <= step) kept += line + '\n';
  }
  return kept;
}

bool log_has_epoch(const fs::path& path, int64_t step) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto entry = parsed(line);
    if (entry.is_object() && entry.value("event", "") == "epoch" && entry.value("step", int64_t{0}) == step)
      return true;
  }
  return false;
}

}  // namespace

Run::Run(fs::path folder, std::string config_toml, std::map<std::string, std::string> metadata,
         Distributed& distributed)
    : folder_(std::move(folder)),
      config_toml_(std::move(config_toml)),
      metadata_(std::move(metadata)),
      distributed_(distributed) {
  if (distributed_.leads()) held_.emplace(folder_);
}

std::string Run::metadata(const std::string& key) const { return value_of(metadata_, key.c_str()); }

bool Run::told(const std::function<bool()>& first) const {
  auto answer = torch::zeros({1}, torch::kInt64);
  if (distributed_.leads()) answer.fill_(first() ? 1 : 0);
  distributed_.broadcast(answer, 0);
  return answer.item<int64_t>() != 0;
}

bool Run::has_weights() const {
  return told([&] { return fs::exists(weights_path()); });
}

void Run::note_machine(const Checkpoint& state) const {
  for (const char* part : {"processor", "threads", "ranks", "parts"}) {
    const std::string there = value_of(state.metadata, part), here = value_of(metadata_, part);
    if (there.empty() || there == here) continue;
    beit::log().warn("{}: {} {} there, {} now: the last digits of what follows may differ from an unbroken run's",
                     state.path.string(), part, there, here);
  }
}

std::optional<Checkpoint> Run::resume_state(const std::string& resume) const {
  if (resume == "never") return std::nullopt;
  return shared(distributed_, distributed_.leads() ? find_state(resume) : std::nullopt);
}

std::optional<Checkpoint> Run::find_state(const std::string& resume) const {
  const bool is_auto = resume == "auto", is_folder = is_auto || fs::is_directory(resume);
  require(
      is_auto || !is_pickled(resume),
      "{}: expected a checkpoint of beit, got a file of PyTorch; `beit convert {} OUT.safetensors --optimizer` makes "
      "one of it",
      resume, resume);
  auto state = is_folder ? newest_readable(is_auto ? folder_ : fs::path(resume)) : read_checkpoint(resume);
  require(state || is_auto, "{}: expected a run folder with checkpoints, got none in it", resume);
  require(state || !fs::exists(weights_path()),
          "{}: expected checkpoints beside model.safetensors, got none to go on from; choose another --output, or "
          "--resume never to replace it",
          folder_.string());
  if (!state) return state;

  const std::string there = value_of(state->metadata, "command"), here = value_of(metadata_, "command");
  require(there == here, "{}: expected a checkpoint of `beit {}`, got one of `beit {}`; choose another --output",
          state->path.string(), here, there);
  const auto later = checkpoints_after(folder_, state->step);
  std::error_code absent;
  require(is_auto || later.empty() || fs::equivalent(resume, folder_, absent),
          "{}: expected no checkpoint later than --resume {}, got {}; leave --resume out to go on from that one, or "
          "choose another --output",
          folder_.string(), resume, later.empty() ? "" : later.back().filename().string());
  const std::string config = value_of(state->metadata, "config"), config_now = value_of(metadata_, "config");
  if (const auto changed = differences(config, config_now, /*allowed=*/true); !changed.empty()) {
    beit::log().info("goes on otherwise: {}", changed);
  }
  std::string differs = differences(config, config_now, /*allowed=*/false);
  for (const char* part : {"images", "tokenizer"}) {  // under the same path others may lie by now
    const std::string was = value_of(state->metadata, part), is = value_of(metadata_, part);
    if (was.empty() || was == is) continue;
    differs += fmt::format("{}{} {} there, {} now", differs.empty() ? "" : "; ", part, was, is);
  }
  note_machine(*state);
  if (differs.empty()) return state;
  require(!is_auto,
          "{}: expected a checkpoint of the same options and images, got {}; choose another --output, --resume never "
          "to start "
          "anew, or --resume {} to go on all the same",
          state->path.string(), differs, folder_.string());
  beit::log().warn("{}: made otherwise: {}", state->path.string(), differs);
  return state;
}

void Run::begin(int64_t step, const nlohmann::ordered_json& first) {
  if (!distributed_.leads()) return;
  write_file_atomically(folder_ / "config.toml", config_toml_);
  remove_checkpoints_after(folder_, step);
  for (const auto& path : {weights_path(), ema_path()}) {
    std::error_code error;
    if (step == 0) fs::remove(path, error);
    require(!error, "{}: expected to remove old weights, got \"{}\"", path.string(), error.message());
  }
  remove_unfinished(folder_, "model");
  write_file_atomically(log_path(), lines_until(log_path(), step));
  log_.open(log_path(), std::ios::app);
  log(first);
}

void Run::save_weights(const TensorMap& weights, const TensorMap& averages) {
  if (!distributed_.leads()) return;
  // The weights last: where they are, so are the averages.
  std::error_code ignored;
  if (averages.empty()) {
    fs::remove(ema_path(), ignored);
  } else {
    TensorMap averaged = weights;
    for (const auto& [name, value] : averages) averaged.at(name) = value;
    write_safetensors(ema_path(), averaged, metadata_);
  }
  write_safetensors(weights_path(), weights, metadata_);
}

void Run::save(int64_t step, const TensorMap& state, const KeptCheckpoints& kept) {
  if (!distributed_.leads()) return;
  const auto before = Clock::now();
  try {
    finish();
  } catch (const std::exception& error) {
    beit::log().error("{}; the run goes on with the checkpoints that it has", error.what());
  }
  const double waited_s = seconds_since(before);
  const auto begin = Clock::now();
  Checkpoint checkpoint{.step = step, .metadata = metadata_};
  int64_t bytes = 0;
  for (const auto& [name, value] : state) {
    checkpoint.tensors.emplace(name, value.detach().to(torch::kCPU, value.scalar_type(), /*non_blocking=*/false,
                                                       /*copy=*/true));
    bytes += static_cast<int64_t>(value.nbytes());
  }
  const double pause_s = seconds_since(begin);
  writing_ = std::async(std::launch::async, [this, kept, bytes, waited_s, pause_s, checkpoint = std::move(checkpoint)] {
    const auto start = Clock::now();
    // Killed between the two, a run has weights newer than its checkpoint, or its first checkpoint without weights;
    // both are made up for at resumption. Weights without any checkpoint would be another's.
    const bool is_first = checkpoints(folder_).empty();
    if (is_first) write_checkpoint(folder_, checkpoint, kept);
    save_weights(tensors_under(checkpoint.tensors, "model."), tensors_under(checkpoint.tensors, "ema."));
    if (!is_first) write_checkpoint(folder_, checkpoint, kept);
    return nlohmann::ordered_json{{"event", "checkpoint"}, {"step", checkpoint.step},
                                  {"bytes", bytes},        {"pause_s", pause_s},
                                  {"waited_s", waited_s},  {"write_s", seconds_since(start)}};
  });
}

void Run::finish() {
  if (!writing_.valid()) return;
  const auto line = writing_.get();
  saved_step_ = line.at("step").get<int64_t>();
  log(line);
}

void Run::log(const nlohmann::ordered_json& line) {
  if (!distributed_.leads()) return;
  log_ << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  require(log_.good(), "{}: expected to write, got an error; is the disk full?", log_path().string());
}

bool Run::has_epoch(int64_t step) const {
  return told([&] { return log_has_epoch(log_path(), step); });
}

}  // namespace beit

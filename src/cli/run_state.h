// What has become of a training run, as its folder tells (docs/FORMATS.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/output_folder.h"

namespace beit {

enum class RunStage {
  kEmpty,     ///< no step was logged, and nobody works on it
  kStarting,  ///< a live process holds the folder, no step is logged yet
  kRunning,   ///< a live process holds the folder
  kFinished,
  kStopped,  ///< by a signal; the same command goes on
  kFailed,   ///< with an error
  kKilled    ///< the process ended without a word
};
std::string readable(RunStage stage);

/// The one number that tells how well it goes.
struct RunFigure {
  std::string name;  ///< its key in log.jsonl
  double value = 0;
};

/// What a log does not tell is 0, empty or nothing.
struct RunState {
  std::filesystem::path folder = {};
  std::string command = {};
  RunStage stage = RunStage::kEmpty;
  std::string message = {};  ///< why it failed or stopped
  int64_t step = 0, steps = 0;
  int64_t epoch = 0, epochs = 0;
  std::optional<double> loss = {};
  std::optional<RunFigure> figure = {};
  double images_per_s = 0;
  std::optional<double> seconds_left = {};  ///< while it runs
  int64_t changed = 0;                      ///< when the log last grew: seconds since 1970
  int64_t bytes = 0;                        ///< of all files in the folder
  std::string device = {}, precision = {};
  int64_t ranks = 0;
  std::optional<FolderHolder> holder = {};
};

/// Run folders in or below `folder`, which may be one itself: those with config.toml and log.jsonl, in the order of
/// their names. Goes at most 8 levels deep and into each folder once, wherever links lead; a folder that may not be
/// read is passed over with a warning. Error where `folder` is no folder.
std::vector<std::filesystem::path> find_runs(const std::filesystem::path& folder);

/// Reads the end of the log and its beginning, 16 MiB at most. Disturbs nobody; a log that is damaged tells less. Error
/// where there is none that can be read.
RunState run_state(const std::filesystem::path& folder);

/// An object of all that is known, null where it is not.
nlohmann::ordered_json to_json(const RunState& run);

}  // namespace beit

// A run's folder: config.toml, log.jsonl, model.safetensors, checkpoints/.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/checkpoint.h"
#include "io/output_folder.h"

namespace beit {

/// Owns the folder's files while a run goes on: Error where another process does. Not thread-safe. Errors name the
/// file.
class Run {
 public:
  /// Creates the folder if need be; nothing in it changes before begin(). `metadata` goes into every file of weights;
  /// of its keys, "command" and "config" (a JSON object of all options) tell whether a checkpoint is of this run, and
  /// "processor" and "threads" whether it goes on alike to the last bit.
  Run(std::filesystem::path folder, std::string config_toml, std::map<std::string, std::string> metadata);

  /// What to go on from: `resume` is `auto` (the newest checkpoint here, if there is one), `never`, a checkpoint, or a
  /// run folder whose newest one is meant. Of damaged newest ones the log warns, and the one before is taken.
  /// Error where the checkpoint is of another command, or where it was written with other options that decide what is
  /// computed; named by the user, such a checkpoint is taken with a warning. Error with `auto` where the folder holds
  /// weights but no checkpoint.
  std::optional<Checkpoint> resume_state(const std::string& resume) const;

  /// The run goes on after `step`, or starts where it is 0: writes config.toml and opens log.jsonl. Log lines and
  /// checkpoints of later steps, which the run will write anew, are removed, at the start old weights too; where
  /// step > 0 the log notes the resumption.
  void begin(int64_t step);

  /// Writes `weights` as model.safetensors.
  void save_weights(const TensorMap& weights);
  bool has_weights() const { return std::filesystem::exists(weights_path()); }

  /// Copies the state and writes it in the background: the tensors `model.*` as model.safetensors, all as a checkpoint.
  /// Waits for the writing before it; of one that failed the log says why, the older files stay and the run goes on.
  void save(int64_t step, const TensorMap& state, const KeptCheckpoints& kept);

  /// Waits for the last save(). Error where it failed.
  void finish();

  /// Adds one line to log.jsonl.
  void log(const nlohmann::ordered_json& line);
  /// Whether log.jsonl has the figures of the epoch, or the part of one, that ended with `step`.
  bool has_epoch(int64_t step) const;

  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  /// Warns where a checkpoint was written on another machine.
  void note_machine(const Checkpoint& state) const;

  std::filesystem::path log_path() const { return folder() / "log.jsonl"; }
  std::filesystem::path weights_path() const { return folder() / "model.safetensors"; }

  OutputFolder folder_;
  std::string config_toml_;
  std::map<std::string, std::string> metadata_;
  std::ofstream log_;
  std::future<void> writing_;
};

}  // namespace beit

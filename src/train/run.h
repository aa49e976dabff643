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
#include "train/distributed.h"

namespace beit {

/// Owns the folder's files while a run goes on: Error where another process does. Not thread-safe. Errors name the
/// file. Each of the ranks that train together has one; only the first touches files, and what it finds there is told
/// to the others: functions said to be collective are called by all.
class Run {
 public:
  /// Creates the folder if need be; nothing in it changes before begin(). `metadata` goes into every file of weights;
  /// of its keys, "command", "config" (a JSON object of all options), "images" and "tokenizer" tell whether a
  /// checkpoint is of this run, and "processor", "threads", "ranks" and "parts" whether it goes on alike to the last
  /// bit. `distributed` must outlive it.
  Run(std::filesystem::path folder, std::string config_toml, std::map<std::string, std::string> metadata,
      Distributed& distributed);

  /// What to go on from: `resume` is `auto` (the newest checkpoint here, if there is one), `never`, a checkpoint, or a
  /// run folder whose newest one is meant. Of damaged newest ones the log warns, and the one before is taken.
  /// Error where the checkpoint is of another command, or where it was written with other images, another tokenizer or
  /// options that decide what is computed; named by the user, such a checkpoint is taken with a warning. Error with
  /// `auto` where the folder holds weights but no checkpoint. Collective.
  std::optional<Checkpoint> resume_state(const std::string& resume) const;

  /// The run goes on after `step`, or starts where it is 0: writes config.toml and opens log.jsonl with the line
  /// `first`. Log lines and checkpoints of later steps, which the run will write anew, are removed, at the start old
  /// weights too.
  void begin(int64_t step, const nlohmann::ordered_json& first);

  /// Writes `weights` as model.safetensors, and where there are `averages`, with those in their place as
  /// model_ema.safetensors; without, an old one is removed.
  void save_weights(const TensorMap& weights, const TensorMap& averages);
  bool has_weights() const;  ///< Collective.

  /// Copies the state and writes it in the background: the tensors `model.*` and `ema.*` as save_weights()
  /// does, all as a checkpoint. Waits for the writing before it; of one that failed the log says why, the older files
  /// stay and the run goes on.
  void save(int64_t step, const TensorMap& state, const KeptCheckpoints& kept);

  /// Waits for the last save(). Error where it failed.
  void finish();

  /// The step of the last checkpoint that was written; -1 before.
  int64_t saved_step() const { return saved_step_; }

  /// Adds one line to log.jsonl.
  void log(const nlohmann::ordered_json& line);
  /// Whether log.jsonl has the figures of the epoch, or the part of one, that ended with `step`. Collective.
  bool has_epoch(int64_t step) const;

  const std::filesystem::path& folder() const { return folder_; }
  /// Of the metadata; empty where it is not there.
  std::string metadata(const std::string& key) const;

 private:
  std::optional<Checkpoint> find_state(const std::string& resume) const;
  /// Warns where a checkpoint was written on another machine.
  void note_machine(const Checkpoint& state) const;
  /// What the first rank says, on all.
  bool told(const std::function<bool()>& first) const;

  std::filesystem::path log_path() const { return folder_ / "log.jsonl"; }
  std::filesystem::path weights_path() const { return folder_ / "model.safetensors"; }
  std::filesystem::path ema_path() const { return folder_ / "model_ema.safetensors"; }

  std::filesystem::path folder_;
  std::string config_toml_;
  std::map<std::string, std::string> metadata_;
  Distributed& distributed_;
  std::optional<OutputFolder> held_;  // on the first rank
  std::ofstream log_;
  int64_t saved_step_ = -1;
  std::future<nlohmann::ordered_json> writing_;  // gives the log's line of it
};

}  // namespace beit

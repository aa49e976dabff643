// A run's folder: config.toml, log.jsonl, model.safetensors, checkpoints/.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/checkpoint.h"

namespace beit {

/// Owns the folder's files while a run goes on. Not thread-safe. Errors name the file.
class Run {
 public:
  /// Creates the folder if need be; nothing in it changes before begin(). `metadata` goes into every file of weights.
  Run(std::filesystem::path folder, std::string config_toml, std::map<std::string, std::string> metadata);

  /// What to go on from: `resume` is `auto` (the newest checkpoint here, if there is one), `never`, or a file.
  std::optional<Checkpoint> resume_state(const std::string& resume) const;

  /// The run goes on after `step`, or starts where it is 0: writes config.toml and opens log.jsonl. Log lines and
  /// checkpoints of later steps, which the run will write anew, are removed; where step > 0 the log notes the
  /// resumption.
  void begin(int64_t step);

  /// Writes a checkpoint of `state`, keeping the newest `keep`, and `weights` as model.safetensors.
  void save(int64_t step, const TensorMap& state, const TensorMap& weights, int64_t keep);

  /// Adds one line to log.jsonl.
  void log(const nlohmann::ordered_json& line);

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path log_path() const { return folder_ / "log.jsonl"; }

  std::filesystem::path folder_;
  std::string config_toml_;
  std::map<std::string, std::string> metadata_;
  std::ofstream log_;
};

}  // namespace beit

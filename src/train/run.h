// A run's folder: config.toml, log.jsonl, model.safetensors, checkpoints/.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace beit {

/// Owns the folder's files while a run goes on. Not thread-safe. Errors name the file.
class Run {
 public:
  /// Creates the folder if need be and writes `config.toml`. `metadata` goes into model.safetensors and checkpoints.
  Run(std::filesystem::path folder, const std::string& config_toml, std::map<std::string, std::string> metadata);

  /// State to go on from: `resume` is `auto` (the newest checkpoint here, if there is one), `never`, or a file.
  struct State {
    int64_t step = 0;  ///< steps taken
    std::map<std::string, torch::Tensor> tensors;
  };
  std::optional<State> resume_state(const std::string& resume) const;

  /// Writes checkpoint and model.safetensors; keeps the newest `keep` checkpoints.
  void save(int64_t step, const std::map<std::string, torch::Tensor>& state,
            const std::map<std::string, torch::Tensor>& weights, int64_t keep);

  /// Starts the log: drops lines after `step`, which the run will repeat, and notes the resumption where step > 0.
  void open_log(int64_t step);

  /// Adds one line to log.jsonl.
  void log(const nlohmann::json& line);

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::map<std::string, std::string> metadata_;
  std::ofstream log_;
};

}  // namespace beit

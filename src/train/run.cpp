#include "train/run.h"

#include <unistd.h>

#include <utility>

#include "base/error.h"
#include "io/atomic_file.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// The lines of a log up to `step`. What a killed process left of a line is dropped too.
std::string lines_until(const fs::path& path, int64_t step) {
  std::string kept, line;
  std::ifstream file(path);
  while (step > 0 && std::getline(file, line)) {
    const auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("step", int64_t{0}) <= step) kept += line + '\n';
  }
  return kept;
}

}  // namespace

Run::Run(fs::path folder, std::string config_toml, std::map<std::string, std::string> metadata)
    : folder_(std::move(folder)), config_toml_(std::move(config_toml)), metadata_(std::move(metadata)) {
  require(!folder_.empty(), "run: expected a folder to write to, got none; set --output RUN");
  std::error_code error;
  fs::create_directories(folder_, error);
  require(!error, "{}: expected a folder or a place to create it, got \"{}\"; choose another --output",
          folder_.string(), error.message());
  require(access(folder_.c_str(), W_OK | X_OK) == 0,
          "{}: expected a folder that may be written to, got one that may not; choose another --output",
          folder_.string());
}

std::optional<Checkpoint> Run::resume_state(const std::string& resume) const {
  if (resume == "never") return std::nullopt;
  if (resume != "auto") return read_checkpoint(resume);
  const auto newest = newest_checkpoint(folder_);
  if (!newest) return std::nullopt;
  return read_checkpoint(*newest);
}

void Run::begin(int64_t step) {
  write_file_atomically(folder_ / "config.toml", config_toml_);
  remove_checkpoints_after(folder_, step);
  write_file_atomically(log_path(), lines_until(log_path(), step));
  log_.open(log_path(), std::ios::app);
  if (step > 0) log({{"event", "resume"}, {"step", step}});
}

void Run::save(int64_t step, const TensorMap& state, const TensorMap& weights, int64_t keep) {
  write_safetensors(folder_ / "model.safetensors", weights, metadata_);
  write_checkpoint(folder_, {.step = step, .tensors = state, .metadata = metadata_}, keep);
}

void Run::log(const nlohmann::ordered_json& line) {
  log_ << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  require(log_.good(), "{}: expected to write, got an error; is the disk full?", log_path().string());
}

}  // namespace beit

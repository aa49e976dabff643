#include "io/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kEnding = ".safetensors", kStep = "step", kChecksum = "checksum";

fs::path checkpoint_folder(const fs::path& run_folder) { return run_folder / "checkpoints"; }

/// The whole text as a number >= 0, or nothing.
std::optional<int64_t> parse_step(std::string_view text) {
  int64_t step = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  if (error != std::errc() || end != text.data() + text.size() || step < 0) return std::nullopt;
  return step;
}

/// What a finished checkpoint's name says; nothing of another file's.
std::optional<int64_t> step_in(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix) || !name.ends_with(kEnding)) return std::nullopt;
  return parse_step(std::string_view(name).substr(
      kPrefix.size(), std::max(name.size(), kPrefix.size() + kEnding.size()) - kPrefix.size() - kEnding.size()));
}

/// Finished checkpoints by step.
std::map<int64_t, fs::path> list_checkpoints(const fs::path& run_folder) {
  std::map<int64_t, fs::path> found;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(checkpoint_folder(run_folder), missing)) {
    if (const auto step = step_in(entry.path()); step && entry.is_regular_file(missing))
      found.emplace(*step, entry.path());
  }
  return found;
}

/// CRC-32 of all tensors' names and bytes, in the map's order.
std::string checksum_of(const TensorMap& tensors) {
  uint32_t sum = 0;
  for (const auto& [name, value] : tensors) {
    if (!value.defined()) continue;  // the writer says so
    const auto bytes = value.detach().cpu().contiguous();
    sum = crc32({reinterpret_cast<const uint8_t*>(name.data()), name.size()}, sum);
    sum = crc32({static_cast<const uint8_t*>(bytes.const_data_ptr()), bytes.nbytes()}, sum);
  }
  return fmt::format("{:08x}", sum);
}

void remove_older(const fs::path& run_folder, int64_t step, const KeptCheckpoints& kept) {
  auto checkpoints = list_checkpoints(run_folder);
  checkpoints.erase(checkpoints.upper_bound(step), checkpoints.end());
  std::error_code ignored;  // a file that cannot be removed costs space, not the run
  while (std::ssize(checkpoints) > kept.last) {
    const auto& [oldest, path] = *checkpoints.begin();
    if (kept.every == 0 || oldest % kept.every != 0) fs::remove(path, ignored);
    checkpoints.erase(checkpoints.begin());
  }
  remove_unfinished(checkpoint_folder(run_folder), kPrefix);
}

}  // namespace

void write_checkpoint(const fs::path& run_folder, const Checkpoint& checkpoint, const KeptCheckpoints& kept) {
  require(
      kept.last >= 1 && kept.every >= 0 && checkpoint.step >= 0,
      "checkpoint: expected a step of at least 0, and to keep at least one and every number of steps from 0, got {}, "
      "{} and {}",
      checkpoint.step, kept.last, kept.every);
  const fs::path folder = checkpoint_folder(run_folder);
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, "{}: expected to create the folder, got \"{}\"; choose another --output", folder.string(),
          error.message());
  auto metadata = checkpoint.metadata;
  metadata[std::string(kStep)] = std::to_string(checkpoint.step);
  metadata[std::string(kChecksum)] = checksum_of(checkpoint.tensors);
  write_safetensors(folder / fmt::format("{}{:08d}{}", kPrefix, checkpoint.step, kEnding), checkpoint.tensors,
                    metadata);
  remove_older(run_folder, checkpoint.step, kept);
}

std::vector<fs::path> checkpoints(const fs::path& run_folder) {
  std::vector<fs::path> newest_first;
  for (const auto& [step, path] : list_checkpoints(run_folder)) newest_first.push_back(path);
  std::reverse(newest_first.begin(), newest_first.end());
  return newest_first;
}

int64_t step_of(const fs::path& checkpoint) {
  const auto step = step_in(checkpoint);
  require(step.has_value(), "{}: expected a checkpoint's name, step-00000123.safetensors, got another",
          checkpoint.string());
  return *step;
}

std::vector<fs::path> checkpoints_after(const fs::path& run_folder, int64_t step) {
  const auto all = list_checkpoints(run_folder);
  std::vector<fs::path> later;
  for (auto at = all.upper_bound(step); at != all.end(); ++at) later.push_back(at->second);
  return later;
}

void remove_checkpoints_after(const fs::path& run_folder, int64_t step) {
  for (const auto& path : checkpoints_after(run_folder, step)) {
    std::error_code error;
    fs::remove(path, error);
    require(!error, "{}: expected to remove the checkpoint of a later step, got \"{}\"", path.string(),
            error.message());
  }
}

Checkpoint read_checkpoint(const fs::path& path) {
  TensorFile file = read_safetensors(path);
  const auto found = file.metadata.find(std::string(kStep));
  const auto step = found == file.metadata.end() ? std::nullopt : parse_step(found->second);
  require(step.has_value(),
          "{}: expected a checkpoint, got a safetensors file without its step; name a file in a "
          "run's checkpoints folder",
          path.string());
  file.metadata.erase(found);
  if (const auto stated = file.metadata.find(std::string(kChecksum)); stated != file.metadata.end()) {
    const std::string got = checksum_of(file.tensors);
    require(got == stated->second, "{}: expected tensors of checksum {}, got {}; it is damaged: use the one before it",
            path.string(), stated->second, got);
    file.metadata.erase(stated);
  }
  return {.step = *step, .tensors = std::move(file.tensors), .metadata = std::move(file.metadata), .path = path};
}

}  // namespace beit

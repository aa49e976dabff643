// The states from which a run goes on: RUN/checkpoints/step-00000123.safetensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/safetensors.h"

namespace beit {

/// One state of a run. What the tensors and the metadata are called is up to the writer; the keys "step"
/// and "checksum" are ours.
struct Checkpoint {
  int64_t step = 0;  ///< optimizer steps done, from 0
  TensorMap tensors = {};
  std::map<std::string, std::string> metadata = {};
  std::filesystem::path path = {};  ///< of the file it was read from
};

/// Which checkpoints stay: the newest `last` (at least 1), and those whose step is a multiple of `every`; 0: none more.
struct KeptCheckpoints {
  int64_t last = 1, every = 0;
};

/// Writes the checkpoint atomically, the folder too where it is missing. Only after success those of earlier steps are
/// removed that do not stay, and what killed processes left unfinished. One process writes into a run folder at a time.
void write_checkpoint(const std::filesystem::path& run_folder, const Checkpoint& checkpoint,
                      const KeptCheckpoints& kept);

/// Those of a run, the newest first; none where it has none. Other files in the folder are ignored.
std::vector<std::filesystem::path> checkpoints(const std::filesystem::path& run_folder);

/// After how many steps a checkpoint of that list was written, as its name says.
int64_t step_of(const std::filesystem::path& checkpoint);

/// Those of later steps, the oldest first.
std::vector<std::filesystem::path> checkpoints_after(const std::filesystem::path& run_folder, int64_t step);

/// Removes those of later steps, for a run that goes on from an earlier one or starts anew (step 0).
void remove_checkpoints_after(const std::filesystem::path& run_folder, int64_t step);

/// Error where the file is damaged, which its checksum tells, or no checkpoint. The tensors are views of the file
/// (io/safetensors.h), which may be removed meanwhile.
Checkpoint read_checkpoint(const std::filesystem::path& path);

}  // namespace beit

// What a training run will take, reckoned from a trial of it, and whether there is as much.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/trial.h"

namespace beit {

/// How long a run is and which checkpoints it keeps; in steps, but for the epochs and the newest checkpoints.
struct Extent {
  int64_t epochs = 0, step_limit = 0;  ///< --steps; 0: none
  int64_t done = 0;                    ///< steps that its folder holds already
  int64_t checkpoint_every = 0;        ///< 0: one epoch
  int64_t keep_checkpoints = 1, keep_every = 0;
  int64_t bytes_there = 0;  ///< of weights and checkpoints in its folder, which the run replaces
};

/// What there is; nothing where the system does not tell.
struct Available {
  std::optional<int64_t> memory = {}, device_memory = {}, disk = {};
};

struct Needs {
  int64_t steps = 0, steps_left = 0;
  double step_s = 0;                ///< the median
  double seconds = 0;               ///< of the steps that are left, with their pauses for checkpoints
  double data_wait = 0;             ///< share of a step, the median
  int64_t memory_bytes = 0;         ///< of all ranks of this machine
  int64_t device_memory_bytes = 0;  ///< of each GPU
  int64_t checkpoints = 0;          ///< most at one time: those kept, and one that is being written
  int64_t disk_bytes = 0;           ///< most at one time
  int64_t disk_bytes_more = 0;      ///< the same without what is there already
};
Needs needs_of(const Trial& trial, const Extent& extent);

/// Checkpoints that are there after so many of them were written, one every `every` steps: the newest, and those at
/// multiples of --keep-every steps.
int64_t checkpoints_kept(int64_t written, int64_t every, const Extent& extent);

/// One line of the plan. `detail` says what the need is made of; `remedy` is empty where it fits.
struct Verdict {
  std::string what, need, detail, available, remedy;
};
std::vector<Verdict> verdicts(const Trial& trial, const Needs& needs, const Available& available);

}  // namespace beit

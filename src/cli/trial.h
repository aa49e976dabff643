// A training command tried out: a few of its steps, run by the program itself in a folder that is removed again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/command.h"

namespace beit {

/// What helps the command where memory runs out.
std::string less_memory(const Command& command);

struct Trial {
  std::string device = {}, precision = {};
  int64_t ranks = 1, threads = 0;
  int64_t images = 0, batch_size = 0;  ///< of the data, of a step
  int64_t steps_per_epoch = 0;
  std::vector<double> step_s = {};     ///< of each step after the warm-up
  std::vector<double> data_wait = {};  ///< share of it spent waiting for images, in [0, 1]; none: not told
  double pause_s = 0;                  ///< that a step waits for a checkpoint's copy
  int64_t memory_bytes = 0;            ///< most of one process, with a checkpoint's copy beside a step
  int64_t device_memory_bytes = 0;     ///< most on one GPU; 0 without
  int64_t weights_bytes = 0;           ///< of all files of weights
  int64_t checkpoint_bytes = 0;
  std::string less_memory = "a smaller --batch-size";  ///< what helps where memory runs out
};

/// Runs `steps` steps of the command with the options that it has set, after a warm-up of 2, and a checkpoint after the
/// last. Fewer where its own --steps are fewer. Images of --val-data are not measured on, and --teacher-cache is not
/// made where there is none. The folder is one beside --output, or in the system's temporary one where none can be made
/// there.
/// Error: what the command says where it fails, that memory ran out where the kernel killed it, that a signal came.
/// Sets signal handlers (cli/interrupt.h); starts a process.
Trial run_trial(const Command& command, int64_t steps);

}  // namespace beit

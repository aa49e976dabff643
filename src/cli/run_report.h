// What a report shows of one run folder.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/config.h"
#include "viz/report_data.h"

namespace beit {

struct ReportOptions {
  std::string tokenizer;    ///< of a pre-training run; empty: the one that it was trained with
  int64_t images = 4;       ///< shown with masks, attention and predictions
  int64_t codes = 64;       ///< shown by patches
  int64_t examples = 8;     ///< of a code
  int64_t measured = 2000;  ///< images for neighbours and confusion
  int64_t batch_size = 64;
  DataOptions data;  ///< without images: the run's own, validation images first
};

/// Reads log, configuration and events, and where there are weights and images computes what they show;
/// `attention_bytes` is the most that its attention takes. What cannot be shown, as the run has no weights yet or its
/// images are gone or its configuration is damaged, stands in `missing`. Error where the folder is no run's.
ReportRun run_report(const std::filesystem::path& folder, const ReportOptions& options, int64_t attention_bytes,
                     const torch::Device& device, bool quiet);

}  // namespace beit

// The codes of an atlas by their nearest patches, as a report shows them.
#pragma once

#include <cstdint>

#include "train/code_atlas.h"
#include "viz/report_data.h"

namespace beit {

struct StripOptions {
  int64_t codes = 64;   ///< at most: evenly chosen among the used ones, in the order of their use
  int64_t context = 2;  ///< patches shown on each side of the one in question
  int64_t side = 80;    ///< pixels of a patch with its surroundings
};

/// Error for an image that can no longer be read.
ReportAtlas atlas_strips(CodeAtlas atlas, const Dataset& images, const ModelOptions& model, const StripOptions& options,
                         bool apply_orientation);

}  // namespace beit

// Which images a backbone takes for alike.
#pragma once

#include <cstdint>

#include "base/config.h"
#include "data/dataset.h"
#include "train/models.h"
#include "viz/report_data.h"

namespace beit {

struct NeighbourOptions {
  int64_t rows = 6;       ///< images whose neighbours are shown
  int64_t nearest = 5;    ///< of each
  int64_t images = 2000;  ///< among which they are looked for: all, or so many drawn always alike
  int64_t side = 112;     ///< pixels of a picture, at most
  int64_t batch_size = 64;
};

/// By the cosine of the mean of the last block's patch tokens. Damaged images are named in the log and left out. The
/// network lies on `device`, in eval(). Error where fewer than two images can be read.
ReportNeighbours nearest_images(const LoadedBackbone& backbone, const Dataset& images, const DataOptions& data,
                                const NeighbourOptions& options, const torch::Device& device, bool quiet);

}  // namespace beit

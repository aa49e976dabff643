// The few images that a report shows, and their pictures.
// Shape letters: B images, C = 3 channels, H and W pixels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "base/config.h"
#include "data/dataset.h"
#include "viz/report_data.h"

namespace beit {

struct ShownImages {
  std::vector<int64_t> indices;      ///< in the data set
  std::vector<NamedPicture> images;  ///< evaluation views
  torch::Tensor images_BCHW;         ///< the same, float32 in [0, 1], on the CPU
};

/// `count` images, fewer where there are not as many, evenly chosen, in the evaluation view of a resolved model. One
/// that is damaged is named in the log, and the next takes its place. Error where none can be read.
ShownImages shown_images(const Dataset& images, const ModelOptions& model, int64_t count, bool apply_orientation);

/// Pixels, uint8 [H, W, C], as a file: PNG where sides are at most 64 pixels or JPEG is larger, else JPEG; scaled down
/// until their sides are at most `most_side`.
EncodedPicture encoded(const torch::Tensor& pixels_HWC, int64_t most_side = 640);

}  // namespace beit

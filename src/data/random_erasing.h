// Random erasing (Zhong et al., 2017): a rectangle of a training image is replaced by noise.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "base/random.h"

namespace beit {

struct RandomErasingOptions {
  double probability = 0.0;  ///< that an image is changed; the published fine-tuning takes 0.25
  int64_t count = 1;         ///< rectangles; together they take the share of the area below
  double min_area = 0.02;    ///< of the image's area
  double max_area = 1.0 / 3.0;
  double min_aspect = 0.3;  ///< height / width is log-uniform in [min_aspect, 1 / min_aspect]
};

/// Fills rectangles of a normalised image, float32 [3, H, W], with standard normal noise for each pixel and channel
/// (timm's mode `pixel`). Each rectangle is tried ten times to be smaller than the image on both sides, else left out;
/// its place is uniform. In place. Probability 0 draws nothing.
void random_erasing_(const torch::Tensor& image_CHW, const RandomErasingOptions& options, Random& random);

}  // namespace beit

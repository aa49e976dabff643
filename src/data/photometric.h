// Photometric distortion as mmsegmentation 0.11's: brightness, contrast, saturation and hue, each with probability 1/2,
// through OpenCV's 8-bit HSV (hue in 180 steps). In place. Each step equals OpenCV's for the same numbers, but the way
// back from HSV is rounded, as in its plain code, where its vector code drops the fraction and may be one level lower.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "base/random.h"

namespace beit {

/// value * scale + shift in float32, cut to [0, 255], the fraction dropped. Contrast: a scale; brightness: a shift.
void scale_and_shift_(const torch::Tensor& pixels_HWC, double scale, double shift);

/// The saturation of HSV times `scale`, at least 0, likewise.
void scale_saturation_(const torch::Tensor& pixels_HWC, double scale);

/// Turns the hue of HSV by so many of 180 steps.
void turn_hue_(const torch::Tensor& pixels_HWC, int64_t steps);

/// Brightness +-32; then contrast 0.5 to 1.5, saturation 0.5 to 1.5 and hue -18 to 17 steps, by even odds with contrast
/// as the last of these.
void photometric_distortion_(const torch::Tensor& pixels_HWC, Random& random);

}  // namespace beit

// Colour jitter as a draw and its application, so that only those pixels are changed that a view shows. The bytes are
// those of Pillow's ImageEnhance, step by step.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "base/random.h"
#include "data/box.h"

namespace beit {

enum class ColorChange { kBrightness, kContrast, kSaturation };

/// In the order of their application, each change at most once; none: no jitter.
struct ColorJitter {
  struct Step {
    ColorChange change;
    double factor;
    bool operator==(const Step&) const = default;
  };
  std::vector<Step> steps;
  bool operator==(const ColorJitter&) const = default;
};

/// Brightness, contrast and saturation in random order, each with a factor uniform in [max(0, 1 - strength),
/// 1 + strength]. Strength 0 draws nothing.
ColorJitter draw_color_jitter(double strength, Random& random);

/// Jitters `part` of pixels [H, W, 3]. Contrast takes the mean grey of `whole`, which holds it; there, pixels outside
/// of `part` are left in any state.
void apply_jitter_(const torch::Tensor& pixels_HWC, const ColorJitter& jitter, const Box& part, const Box& whole);

/// Jitters planes [3, H, W]; contrast takes their own mean grey.
void apply_jitter_(const torch::Tensor& planes_CHW, const ColorJitter& jitter);

}  // namespace beit

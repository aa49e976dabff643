// RandAugment (Cubuk et al., 2019) as fine-tuning uses it: a few operations a picture, drawn at random, all of one
// magnitude. In timm's words `rand-m9-mstd0.5-inc1`. Each operation equals Pillow's.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "data/affine.h"

namespace beit {

enum class RandAugmentOperation {
  kAutoContrast,
  kEqualize,
  kInvert,
  kRotate,       ///< by 30 L degrees, either way
  kPosterize,    ///< keeps 4 - int(4 L) bits; int(4 L) unless increasing
  kSolarize,     ///< from 256 - int(256 L) on; int(256 L) unless increasing
  kSolarizeAdd,  ///< int(110 L), below 128
  kColor,        ///< this and the next three: factor max(0.1, 1 +- 0.9 L); 0.1 + 1.8 L unless increasing
  kContrast,
  kBrightness,
  kSharpness,
  kShearX,  ///< by 0.3 L, either way
  kShearY,
  kTranslateX,  ///< by 0.45 L of the width, either way
  kTranslateY
};
inline constexpr int64_t kRandAugmentOperations = 15;

struct RandAugmentOptions {
  int64_t layers = 2;          ///< `n`: operations a picture, drawn evenly and with repetition; 0: off
  double magnitude = 10.0;     ///< `m`, in [0, 10]
  double magnitude_std = 0.0;  ///< `mstd`: deviation of each operation's magnitude, which is cut to [0, 10]
  bool increasing = false;     ///< `inc`: a larger magnitude always changes more
  double probability = 0.5;    ///< `p`: that a drawn operation is applied
  Color fill = kMeanColor;     ///< where rotation, shear and translation leave nothing
};

/// Parses `rand` followed by parts such as -m9 -n2 -mstd0.5 -inc1 -p0.5, in any order; what is not named keeps its
/// default. Empty or `none`: off. Error, naming the part and those that are known, for anything else.
RandAugmentOptions parse_rand_augment(std::string_view text);

/// One operation at `magnitude` / 10 = L; `negative` turns the sign of those that go either way. Options: `increasing`
/// and `fill`.
void apply_operation_(const torch::Tensor& pixels_HWC, RandAugmentOperation operation, double magnitude, bool negative,
                      const RandAugmentOptions& options);

/// Draws and applies. In place. Off: draws nothing.
void rand_augment_(const torch::Tensor& pixels_HWC, const RandAugmentOptions& options, Random& random);

}  // namespace beit

// Fine-tuning: what a classifier is shown of an image (paper, section 3.2 and appendix).
#pragma once

#include "base/config.h"
#include "data/loader.h"

namespace beit {

/// Samples of fine-tuning: one view, float32 [3, H, W] in ImageNet's mean and deviation: a random crop, mirrored half
/// of the time, then RandAugment, and random erasing after the standardisation. `model` must be resolved.
/// Error for an augmentation that is not understood.
Transform finetune_transform(const ModelOptions& model, const DataOptions& data, const AugmentOptions& augment,
                             uint64_t seed);

}  // namespace beit

// What a frozen network is shown of an image: the same for every command that measures.
#pragma once

#include "base/config.h"
#include "data/loader.h"

namespace beit {

/// Error for images smaller than a patch: nothing of them would be left to see.
void require_a_patch(const torch::Tensor& pixels_HWC, int64_t patch_size);

/// The evaluation view (data/resize.h) at the model's size, float32 [3, H, W] in [0, 1]. `model` must be resolved.
/// Error for images smaller than a patch.
Transform evaluation_transform(const ModelOptions& model);

/// Every image once, in the data set's order; damaged ones are left out.
LoaderOptions evaluation_order(int64_t batch_size, int64_t workers);

}  // namespace beit

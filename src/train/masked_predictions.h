// What a pre-trained model foretells of masked patches, and how sure it is.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "train/models.h"
#include "viz/report_data.h"

namespace beit {

/// Of the images `indices` in their evaluation views, each under a mask as in pre-training that depends on the image's
/// number alone: the tokenizer's codes, from a view on which it has as many patches, and what the last block foretells.
/// Both networks lie on `device`, in eval(). Error where they have different numbers of codes, and for a damaged image.
ReportMasks masked_predictions(const LoadedMim& mim, const LoadedTokenizer& tokenizer, const Dataset& images,
                               const std::vector<int64_t>& indices, bool apply_orientation,
                               const torch::Device& device);

}  // namespace beit

// How a backbone's heads weigh the tokens of some images, as far as a page has room for it.
// Shape letters: L layers, H heads, T tokens.
#pragma once

#include <cstdint>

#include "train/models.h"
#include "train/shown_images.h"
#include "viz/report_data.h"

namespace beit {

/// Which part of all attention takes at most `most_bytes`, a byte for each pair of tokens of each head: some of
/// `images` images, at most, and evenly chosen layers, the last among them; at least four layers where an image more
/// would take their place.
struct AttentionShare {
  int64_t images = 0;           ///< 0: a single layer of one image takes more
  std::vector<int64_t> layers;  ///< rising, from 1
};
AttentionShare attention_share(const ViTOptions& vit, int64_t images, int64_t most_bytes);

/// Of the first share.images images, in the form that `backbone` takes them. The network lies on `device`, in eval().
ReportAttention attention_maps(const LoadedBackbone& backbone, const ShownImages& shown, const AttentionShare& share,
                               const torch::Device& device);

}  // namespace beit

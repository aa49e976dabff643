// A segmenter in a size that a test bears; as golden/segmenter states it.
#pragma once

#include "core/segmenter.h"

namespace beit {

inline SegmenterOptions small_segmenter() {
  return {.vit = {.grid = {8, 8},
                  .patch_size = 4,
                  .width = 16,
                  .depth = 4,
                  .heads = 2,
                  .layer_scale = 0.1,
                  .absolute_position = false,
                  .relative_position = RelPos::kBlock},
          .classes = 5,
          .channels = 8,
          .auxiliary_channels = 6,
          .dropout = 0};
}

}  // namespace beit

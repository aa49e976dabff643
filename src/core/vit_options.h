// What a vision transformer is made of; shared by all networks of the method.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/grid.h"

namespace beit {

enum class RelPos {
  kNone,    ///< no relative bias: tokenizer
  kShared,  ///< one table for all blocks: pre-training
  kBlock,   ///< a table in each block: fine-tuning
};

struct ViTOptions {
  Grid grid;                      ///< patches of an image
  int64_t patch_size = 16;        ///< pixels
  int64_t channels = 3;           ///< of the input
  int64_t width = 768;            ///< D, of a token
  int64_t depth = 12;             ///< blocks
  int64_t heads = 12;             ///< divides the width
  double mlp_ratio = 4.0;         ///< hidden width of the MLP over width
  double drop_path = 0.0;         ///< stochastic depth of the last block, rising linearly from 0; in [0, 1)
  double layer_scale = 0.0;       ///< initial value of the gammas; 0 leaves them out
  bool absolute_position = true;  ///< learnt position embedding
  RelPos relative_position = RelPos::kNone;

  /// Width of the MLPs between their two layers.
  int64_t hidden() const { return std::llround(static_cast<double>(width) * mlp_ratio); }
};

}  // namespace beit

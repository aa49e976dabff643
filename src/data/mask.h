// Which patches of an image the student does not see (paper, section 3.1; the block-wise masking of BEiT).
// Shape letter: N patches of an image.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "base/grid.h"
#include "base/random.h"

namespace beit {

struct MaskOptions {
  int64_t masked = 75;      ///< patches that are masked, of the grid's, exactly
  int64_t min_block = 16;   ///< patches: the least area that is drawn for a block, while so many are missing
  double min_aspect = 0.3;  ///< of a block, in (0, 1]; the largest is its reciprocal
};

/// bool [N], true at exactly `masked` patches. Blocks are added until so many are masked: up to ten tries a block, area
/// uniform between `min_block` and the number still missing, aspect ratio log-uniform; a block must be lower and
/// narrower than the grid and add at least one patch and no more than are missing. What is missing after ten vain tries
/// is drawn patch by patch. Error where the grid has fewer patches than `masked`.
torch::Tensor block_mask(const Grid& grid, const MaskOptions& options, Random& random);

}  // namespace beit

// A patch amid the patches around it, which show what it is a part of.
// Shape letters: H and W pixels.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "base/grid.h"
#include "viz/drawing.h"

namespace beit {

/// Which patches of an image are shown, and where among them the patch in question is.
struct Surroundings {
  int64_t first_row = 0, first_column = 0;  ///< in the image's grid
  Grid shown = {};                          ///< so many patches
  int64_t row = 0, column = 0;              ///< of the patch, from the first shown
};

/// `context` patches on each side, fewer where the grid is smaller; at the image's edge there are more of them on the
/// other side, so that all patches of a grid are shown amid equally many. Error for a patch that the grid has not.
Surroundings surroundings_of(int64_t patch, const Grid& grid, int64_t context);

/// Their pixels, a view of the image's, uint8 [H, W, 3]. Error unless the grid divides the image.
torch::Tensor cut_surroundings(const torch::Tensor& pixels_HW3, const Grid& grid, const Surroundings& around);

/// What cut_surroundings() gives as a square of `side` pixels, with the patch outlined. Returns uint8 [side, side, 3].
inline constexpr Ink kPatchMark{255, 214, 0};
torch::Tensor outlined_patch(const torch::Tensor& part_HW3, const Surroundings& around, int64_t side,
                             const Ink& mark = kPatchMark);

}  // namespace beit

// What two images have in common: the codes that both hold.
// Shape letters: N patches of an image, H and W pixels.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/grid.h"

namespace beit {

/// A code that two images hold, and its patches in each.
struct SharedCode {
  int64_t code = 0;
  std::array<std::vector<int64_t>, 2> patches = {};
};

struct SharedCodes {
  std::vector<SharedCode> codes;         ///< first those that most patches have in both images; equals by their number
  std::array<int64_t, 2> held = {0, 0};  ///< different codes of each image

  /// Codes in both images over codes in either.
  double jaccard() const;
};

/// Of the codes of two images, int [N] each, which may have different N. Error for other shapes.
SharedCodes shared_codes(const torch::Tensor& first_N, const torch::Tensor& second_N);

struct SharedCodesOptions {
  int64_t rows = 16;    ///< codes of the legend, at most: the first
  int64_t columns = 4;  ///< patches of each image beside a code in the legend, at most
};

/// Both images, large: patches of shared codes outlined in the code's colour and numbered, all others pale. Below, a
/// row for each code: its colour and number, its patches in the first and in the second image amid their surroundings.
/// pixels: uint8 [H, W, 3] each, of one size that the grid divides. Returns uint8 [H, W, 3].
torch::Tensor shared_codes_picture(const std::array<torch::Tensor, 2>& pixels_HW3, const SharedCodes& shared,
                                   const Grid& grid, const SharedCodesOptions& options = {});

}  // namespace beit

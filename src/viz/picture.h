// Pictures of what codes mean: the patches of different images that were given the same code, side by side.
// Shape letters: I images, N patches of an image, H and W pixels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/grid.h"

namespace beit {

/// One patch of one image, numbered as in the data set and row by row.
struct PatchPlace {
  int64_t image = 0;
  int64_t patch = 0;
};

/// A code and where it was found.
struct CodeExamples {
  int64_t code = 0;
  int64_t images = 0;                ///< different images that hold the code
  std::vector<PatchPlace> examples;  ///< one an image, spread evenly over the data set
};

struct ExampleOptions {
  int64_t rows = 16;     ///< codes, at most
  int64_t columns = 16;  ///< examples of a code, at most
};

/// Chooses the most telling codes of those found in at least `columns` different images (all, where too few are).
/// With labels: for each class in turn the code whose presence speaks most for it, n log(n / expected n), n being the
/// images of the class that hold the code. Without (no label is >= 0): the codes in the most images.
/// Their examples are those of spread_examples(). codes_IN: int, each in [0, codes); labels_I: int64, -1 where unknown.
std::vector<CodeExamples> telling_codes(const torch::Tensor& codes_IN, const torch::Tensor& labels_I, int64_t codes,
                                        const ExampleOptions& options = {});

/// At most `columns` examples of each of the codes `chosen`, which are all different, in that order. Examples are not
/// chosen by looks: images evenly spaced in the data set's order, and of several patches the middle one. codes_IN: as
/// above.
std::vector<CodeExamples> spread_examples(const torch::Tensor& codes_IN, const std::vector<int64_t>& chosen,
                                          int64_t codes, int64_t columns);

struct MosaicOptions {
  int64_t cell = 80;    ///< pixels of a side of an example
  int64_t context = 2;  ///< patches shown on each side of the patch in question; fewer where the grid is smaller
};

/// A row for each code: its number, then its examples, each patch outlined amid its surroundings.
/// `pixels_of(image)` gives uint8 [H, W, 3] of any one size that the grid divides. Returns uint8 [H, W, 3].
torch::Tensor code_mosaic(const std::vector<CodeExamples>& rows, const Grid& grid,
                          const std::function<torch::Tensor(int64_t image)>& pixels_of,
                          const MosaicOptions& options = {});

}  // namespace beit

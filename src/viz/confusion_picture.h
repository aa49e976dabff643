// Which classes are taken for which, as one picture.
// Shape letters: K classes, H and W pixels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>

namespace beit {

/// More are not to be told apart, and a picture of them is hundreds of megabytes.
inline constexpr int64_t kMostPictureClasses = 4096;

/// A square for each pair of classes, row of the label, column of the prediction: on the diagonal green, elsewhere
/// vermilion, and the fuller the larger its share of the row (by the square root, so that one in a hundred shows);
/// white: never. Rows of classes without samples are grey. Classes have their `numbers` at the left and on top, every
/// second, fifth, tenth, ... where there is no room for all; large squares state their share in percent.
/// counts_KK: int64, from 0 on, on any device. Returns uint8 [H, W, 3] on the CPU. Error for other shapes and for more
/// than kMostPictureClasses classes.
torch::Tensor confusion_picture(const torch::Tensor& counts_KK, std::span<const int64_t> numbers);

}  // namespace beit

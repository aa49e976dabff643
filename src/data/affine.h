// Affine changes of a picture with bicubic interpolation, equal to Pillow's Image.rotate and Image.transform. In place;
// the size stays, what comes from outside of the picture is filled with one colour.
#pragma once

#include <torch/torch.h>

#include "data/image.h"

namespace beit {

/// ImageNet's mean, as a colour.
inline constexpr Color kMeanColor{124, 116, 104};

/// Takes the output's point (x, y) from the input's (a x + b y + c, d x + e y + f); pixels have their centres at
/// halves.
struct AffineMap {
  double a = 1.0, b = 0.0, c = 0.0, d = 0.0, e = 1.0, f = 0.0;  ///< finite
};
void affine_(const torch::Tensor& pixels_HWC, const AffineMap& map, const Color& fill);

/// About the centre, counter-clockwise; any number of degrees.
void rotate_(const torch::Tensor& pixels_HWC, double degrees, const Color& fill);

/// Rows are moved to the left by `factor` times their distance from the top edge.
void shear_x_(const torch::Tensor& pixels_HWC, double factor, const Color& fill);

/// Columns are moved up by `factor` times their distance from the left edge.
void shear_y_(const torch::Tensor& pixels_HWC, double factor, const Color& fill);

/// Moves the picture to the left, or up, by so many pixels, which need not be whole.
void translate_x_(const torch::Tensor& pixels_HWC, double pixels, const Color& fill);
void translate_y_(const torch::Tensor& pixels_HWC, double pixels, const Color& fill);

}  // namespace beit

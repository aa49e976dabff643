// Random changes of a training image, each equal to Pillow's and torchvision's for the same drawn numbers. Operations
// with a trailing underscore change the pixels in place.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>

#include "base/random.h"
#include "data/box.h"

namespace beit {

/// A random crop: up to ten tries of an area uniform in [min_area, max_area] times the image's and an aspect ratio
/// log-uniform in [3/4, 4/3], placed uniformly; else the largest centred crop whose aspect ratio lies in that range.
/// 0 < min_area <= max_area <= 1.
Box random_resized_crop(const ImageSize& image, double min_area, double max_area, Random& random);

/// The blend factor * image + (1 - factor) * plain image, cut to [0, 255]; factor >= 0, 1 changes nothing. The plain
/// image is black for brightness, the mean grey of all pixels for contrast, the grey image for saturation, and for
/// sharpness the image smoothed by a 3x3 kernel, its edge as it is; a side of less than 3 pixels is all edge.
void adjust_brightness_(const torch::Tensor& pixels_HWC, double factor);
void adjust_contrast_(const torch::Tensor& pixels_HWC, double factor);
void adjust_saturation_(const torch::Tensor& pixels_HWC, double factor);
void adjust_sharpness_(const torch::Tensor& pixels_HWC, double factor);

/// What makes floats of pixels: (pixel / 255 - mean) / std for each channel.
struct PixelScale {
  std::array<float, 3> mean{0.0F, 0.0F, 0.0F}, std{1.0F, 1.0F, 1.0F};  ///< the pixels in [0, 1]
};
inline constexpr PixelScale kUnitScale{};
inline constexpr PixelScale kImagenetScale{{0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}};

/// uint8 [H, W, 3] to float32 [3, H, W]; left and right swapped where `mirrored`.
torch::Tensor to_float(const torch::Tensor& pixels_HWC, const PixelScale& scale = kUnitScale, bool mirrored = false);

}  // namespace beit

// How near pictures come to their originals.
// Shape letters: B images, H and W pixels.
#pragma once

#include <torch/torch.h>

namespace beit {

/// Peak signal-to-noise ratio in decibels, of pixels in [0, 1]: -10 log10 of the mean squared difference, which is
/// taken as 1e-10 where it is less. Any shape.
torch::Tensor psnr(const torch::Tensor& mean_squared_difference);

/// Structural similarity (Wang et al. 2004): float64 [B] of two [B, 3, H, W] in [0, 1], 1 where they are equal. Of each
/// colour channel apart, with a Gaussian window of 11 x 11 pixels and a deviation of 1.5, which stays inside of the
/// picture, K1 = 0.01 and K2 = 0.03; then the mean over windows and channels. Of smaller pictures the window is the
/// largest of odd sides that they hold.
torch::Tensor ssim(const torch::Tensor& pictures_BCHW, const torch::Tensor& originals_BCHW);

/// Each float64 [B], on the pictures' device.
struct ImageQuality {
  torch::Tensor squared_B;   ///< mean squared difference
  torch::Tensor absolute_B;  ///< mean absolute difference
  torch::Tensor psnr_B, ssim_B;

  /// Float64 [5] on the CPU: the four figures' sums over the images in this order, and the images' number.
  torch::Tensor sums() const;
};

/// Of many pictures.
struct MeanQuality {
  double squared = 0, absolute = 0, psnr = 0, ssim = 0;
};
/// From the total of ImageQuality::sums().
MeanQuality mean_quality(const torch::Tensor& sums_5);

/// Of pictures beside their originals, both float [B, 3, H, W] in [0, 1] on one device. Error for other shapes.
ImageQuality image_quality(const torch::Tensor& pictures_BCHW, const torch::Tensor& originals_BCHW);

}  // namespace beit

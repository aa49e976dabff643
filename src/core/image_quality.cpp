#include "core/image_quality.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace beit {
namespace {

/// Weights of a Gaussian window along one side, 1 in all.
std::vector<double> gaussian(int64_t side) {
  constexpr double kDeviation = 1.5;  // pixels
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = 0; i < side; ++i) {
    const double away = static_cast<double>(i) - static_cast<double>(side - 1) / 2;
    weights.push_back(std::exp(-away * away / (2 * kDeviation * kDeviation)));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// The weighted mean of each window that lies in the picture. By rows and columns, as a convolution would round to
/// TF32 on a GPU.
torch::Tensor windowed(const torch::Tensor& x_BCHW, const std::vector<double>& weights) {
  const auto along = [&](const torch::Tensor& x, int64_t dim) {
    const int64_t places = x.size(dim) - std::ssize(weights) + 1;
    auto sum = x.narrow(dim, 0, places) * weights[0];
    for (size_t i = 1; i < weights.size(); ++i) sum.add_(x.narrow(dim, static_cast<int64_t>(i), places), weights[i]);
    return sum;
  };
  return along(along(x_BCHW, 2), 3);
}

void check(const torch::Tensor& pictures_BCHW, const torch::Tensor& originals_BCHW) {
  require(pictures_BCHW.dim() == 4 && pictures_BCHW.size(1) == 3 && pictures_BCHW.numel() > 0 &&
              pictures_BCHW.sizes() == originals_BCHW.sizes(),
          "image quality: expected pictures [B, 3, H, W] and as many originals, got [{}] and [{}]",
          fmt::join(pictures_BCHW.sizes(), ", "), fmt::join(originals_BCHW.sizes(), ", "));
}

}  // namespace

torch::Tensor psnr(const torch::Tensor& mean_squared_difference) {
  return -10 * mean_squared_difference.clamp_min(1e-10).log10();
}

torch::Tensor ssim(const torch::Tensor& pictures_BCHW, const torch::Tensor& originals_BCHW) {
  check(pictures_BCHW, originals_BCHW);
  constexpr int64_t kWindow = 11;
  constexpr double kC1 = 0.01 * 0.01, kC2 = 0.03 * 0.03;
  const int64_t shorter = std::min(pictures_BCHW.size(2), pictures_BCHW.size(3));
  const auto weights = gaussian(std::min(kWindow, shorter - (shorter + 1) % 2));
  const auto x = pictures_BCHW.to(torch::kFloat64), y = originals_BCHW.to(torch::kFloat64);
  const auto mean_x = windowed(x, weights), mean_y = windowed(y, weights);
  const auto variance_x = windowed(x * x, weights) - mean_x * mean_x;
  const auto variance_y = windowed(y * y, weights) - mean_y * mean_y;
  const auto covariance = windowed(x * y, weights) - mean_x * mean_y;
  const auto likeness = (2 * mean_x * mean_y + kC1) * (2 * covariance + kC2) /
                        ((mean_x * mean_x + mean_y * mean_y + kC1) * (variance_x + variance_y + kC2));
  return likeness.flatten(1).mean(1);
}

torch::Tensor ImageQuality::sums() const {
  const auto images = torch::scalar_tensor(static_cast<double>(psnr_B.size(0)), psnr_B.options());
  return torch::stack({squared_B.sum(), absolute_B.sum(), psnr_B.sum(), ssim_B.sum(), images}).to(torch::kCPU);
}

MeanQuality mean_quality(const torch::Tensor& sums_5) {
  const auto mean = [&](int64_t figure) { return (sums_5[figure] / sums_5[4]).item<double>(); };
  return {.squared = mean(0), .absolute = mean(1), .psnr = mean(2), .ssim = mean(3)};
}

ImageQuality image_quality(const torch::Tensor& pictures_BCHW, const torch::Tensor& originals_BCHW) {
  check(pictures_BCHW, originals_BCHW);
  const auto difference = pictures_BCHW.to(torch::kFloat64) - originals_BCHW.to(torch::kFloat64);
  const auto squared_B = difference.square().flatten(1).mean(1);
  return {.squared_B = squared_B,
          .absolute_B = difference.abs().flatten(1).mean(1),
          .psnr_B = psnr(squared_B),
          .ssim_B = ssim(pictures_BCHW, originals_BCHW)};
}

}  // namespace beit

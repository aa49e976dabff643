// Shape letters: B images, H and W pixels.
#include "core/image_quality.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"

namespace beit {
namespace {

/// SSIM of one window that is the whole picture of 11 x 11 pixels, by its definition, a channel's mean and variance as
/// sums over the pixels.
double one_window(const torch::Tensor& x_HW, const torch::Tensor& y_HW) {
  double weights[11][11], sum = 0;
  for (int i = 0; i < 11; ++i) {
    for (int k = 0; k < 11; ++k) {
      weights[i][k] = std::exp(-((i - 5) * (i - 5) + (k - 5) * (k - 5)) / (2 * 1.5 * 1.5));
      sum += weights[i][k];
    }
  }
  double mean_x = 0, mean_y = 0, variance_x = 0, variance_y = 0, covariance = 0;
  const auto over_pixels = [&](const auto& add) {
    for (int i = 0; i < 11; ++i) {
      for (int k = 0; k < 11; ++k) add(weights[i][k] / sum, x_HW[i][k].item<double>(), y_HW[i][k].item<double>());
    }
  };
  over_pixels([&](double weight, double x, double y) {
    mean_x += weight * x;
    mean_y += weight * y;
  });
  over_pixels([&](double weight, double x, double y) {
    variance_x += weight * (x - mean_x) * (x - mean_x);
    variance_y += weight * (y - mean_y) * (y - mean_y);
    covariance += weight * (x - mean_x) * (y - mean_y);
  });
  return (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4) /
         ((mean_x * mean_x + mean_y * mean_y + 1e-4) * (variance_x + variance_y + 9e-4));
}

TEST_CASE("image quality: SSIM is that of its definition, the mean over channels and images apart") {
  torch::manual_seed(1);
  const auto x_BCHW = torch::rand({2, 3, 11, 11}, torch::kFloat64);
  const auto y_BCHW = 0.7 * x_BCHW + 0.3 * torch::rand({2, 3, 11, 11}, torch::kFloat64);
  const auto ssim_B = ssim(x_BCHW, y_BCHW);
  REQUIRE(ssim_B.sizes() == torch::IntArrayRef({2}));
  for (int64_t image = 0; image < 2; ++image) {
    double mean = 0;
    for (int64_t channel = 0; channel < 3; ++channel) {
      mean += one_window(x_BCHW[image][channel], y_BCHW[image][channel]) / 3;
    }
    CHECK(ssim_B[image].item<double>() == doctest::Approx(mean).epsilon(1e-9));
    CHECK(mean < 0.99);
  }
}

TEST_CASE("image quality: SSIM takes every window inside of the picture, and a smaller one of small pictures") {
  torch::manual_seed(2);
  const auto x_BCHW = torch::rand({1, 3, 12, 13}, torch::kFloat64),
             y_BCHW = torch::rand({1, 3, 12, 13}, torch::kFloat64);
  double mean = 0;
  for (int64_t top = 0; top < 2; ++top) {
    for (int64_t left = 0; left < 3; ++left) {
      const auto window = [&](const torch::Tensor& all) { return all.narrow(2, top, 11).narrow(3, left, 11); };
      mean += ssim(window(x_BCHW), window(y_BCHW)).item<double>() / 6;
    }
  }
  CHECK(ssim(x_BCHW, y_BCHW).item<double>() == doctest::Approx(mean).epsilon(1e-9));
  for (const int64_t side : {1, 2, 8}) {
    CAPTURE(side);
    const auto small = torch::rand({2, 3, side, 20});
    CHECK(ssim(small, small).sub(1).abs().max().item<double>() < 1e-9);
    CHECK(ssim(small, 1 - small).max().item<double>() < 0.9);
  }
}

TEST_CASE("image quality: known pictures give known figures") {
  const auto black = torch::zeros({2, 3, 16, 16}), grey = torch::full({2, 3, 16, 16}, 0.1);
  const ImageQuality quality = image_quality(grey, black);
  CHECK(quality.squared_B[1].item<double>() == doctest::Approx(0.01).epsilon(1e-6));
  CHECK(quality.absolute_B[1].item<double>() == doctest::Approx(0.1).epsilon(1e-6));
  CHECK(quality.psnr_B[1].item<double>() == doctest::Approx(20).epsilon(1e-6));
  CHECK(quality.ssim_B[1].item<double>() == doctest::Approx(1e-4 / (0.01 + 1e-4)).epsilon(1e-4));
  const auto sums = quality.sums();
  REQUIRE(sums.sizes() == torch::IntArrayRef({5}));
  CHECK(sums[2].item<double>() == doctest::Approx(40).epsilon(1e-6));
  CHECK(sums[4].item<double>() == 2);
  const MeanQuality mean = mean_quality(sums + sums);
  CHECK(mean.squared == doctest::Approx(0.01).epsilon(1e-6));
  CHECK(mean.absolute == doctest::Approx(0.1).epsilon(1e-6));
  CHECK(mean.psnr == doctest::Approx(20).epsilon(1e-6));
  CHECK(mean.ssim == doctest::Approx(1e-4 / (0.01 + 1e-4)).epsilon(1e-4));

  const ImageQuality same = image_quality(grey, grey);
  CHECK(same.psnr_B[0].item<double>() == doctest::Approx(100));
  CHECK(same.ssim_B[0].item<double>() == doctest::Approx(1));
  CHECK_THROWS_AS(image_quality(grey, grey.slice(2, 1)), Error);
  CHECK_THROWS_AS(image_quality(grey.select(0, 0), grey.select(0, 0)), Error);
}

}  // namespace
}  // namespace beit

#include "data/segmentation_views.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "data/augment.h"
#include "data/bilinear.h"
#include "data/image.h"
#include "data/photometric.h"

namespace beit {
namespace {

constexpr int kRedraws = 10;

ImageSize size_of(const torch::Tensor& x_HW) { return {x_HW.size(0), x_HW.size(1)}; }

bool is_varied(const torch::Tensor& labels_HW, const Box& box, double max_class_share) {
  std::array<int64_t, 256> counts{};
  for (int64_t y = box.top; y < box.top + box.height; ++y) {
    const uint8_t* row = labels_HW.const_data_ptr<uint8_t>() + y * labels_HW.size(1) + box.left;
    for (int64_t x = 0; x < box.width; ++x) ++counts[row[x]];
  }
  counts[kIgnoredLabel] = 0;
  const auto most = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  const auto all = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  return most < all && most < all * max_class_share;
}

Box draw_crop(const torch::Tensor& labels_HW, const SegmentationViewOptions& options, Random& random) {
  const ImageSize size = size_of(labels_HW);
  Box box{0, 0, std::min(size.height, options.crop.height), std::min(size.width, options.crop.width)};
  for (int redraw = 0; redraw <= kRedraws; ++redraw) {
    box.top = random.integer(0, size.height - box.height + 1);
    box.left = random.integer(0, size.width - box.width + 1);
    if (options.max_class_share >= 1.0 || is_varied(labels_HW, box, options.max_class_share)) break;
  }
  return box;
}

// A part of the labels in the upper left corner of a map of its own.
torch::Tensor padded_labels(const torch::Tensor& labels_HW, const Box& box, const ImageSize& size, bool mirrored) {
  auto out_HW = torch::empty({size.height, size.width}, torch::kUInt8);
  auto* out = out_HW.mutable_data_ptr<uint8_t>();
  std::fill_n(out, out_HW.numel(), kIgnoredLabel);
  for (int64_t y = 0; y < box.height; ++y, out += size.width) {
    const uint8_t* row = labels_HW.const_data_ptr<uint8_t>() + (box.top + y) * labels_HW.size(1) + box.left;
    if (mirrored) {
      std::reverse_copy(row, row + box.width, out);
    } else {
      std::copy_n(row, box.width, out);
    }
  }
  return out_HW;
}

torch::Tensor padded_image(const torch::Tensor& image_CHW, const ImageSize& size) {
  const int64_t height = image_CHW.size(1), width = image_CHW.size(2);
  if (size == ImageSize{height, width}) return image_CHW;
  auto out_CHW = torch::empty({3, size.height, size.width}, torch::kFloat32);
  auto* out = out_CHW.mutable_data_ptr<float>();
  std::fill_n(out, out_CHW.numel(), 0.0F);
  for (int64_t row = 0; row < 3 * height; ++row) {
    std::copy_n(image_CHW.const_data_ptr<float>() + row * width, width,
                out + (row / height * size.height + row % height) * size.width);
  }
  return out_CHW;
}

void require_options(const SegmentationViewOptions& options) {
  require(options.limit.height > 0 && options.limit.width > 0 && options.crop.height > 0 && options.crop.width > 0 &&
              options.min_ratio > 0.0 && options.min_ratio <= options.max_ratio && std::isfinite(options.max_ratio) &&
              options.max_class_share > 0.0,
          "segmentation view: expected sizes of at least 1 x 1, 0 < least ratio <= largest ratio and a class share "
          "above 0, got {} x {}, {} x {}, {}, {} and {}",
          options.limit.height, options.limit.width, options.crop.height, options.crop.width, options.min_ratio,
          options.max_ratio, options.max_class_share);
}

}  // namespace

ImageSize fit_into(const ImageSize& image, const ImageSize& limit) {
  require(image.height > 0 && image.width > 0 && limit.height > 0 && limit.width > 0,
          "fit_into: expected sizes of at least 1 x 1, got {} x {} and {} x {}", image.height, image.width,
          limit.height, limit.width);
  const auto ratio = [](int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); };
  const double factor = std::min(ratio(std::max(limit.height, limit.width), std::max(image.height, image.width)),
                                 ratio(std::min(limit.height, limit.width), std::min(image.height, image.width)));
  const auto scaled = [&](int64_t side) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(side) * factor + 0.5));
  };
  return {scaled(image.height), scaled(image.width)};
}

SegmentationView segmentation_training_view(const torch::Tensor& pixels_HWC, const torch::Tensor& labels_HW,
                                            const SegmentationViewOptions& options, Random& random) {
  require_pixels(pixels_HWC, "segmentation view");
  require_labels(labels_HW, "segmentation view");
  require_options(options);
  require(size_of(pixels_HWC) == size_of(labels_HW),
          "segmentation view: expected an image and labels of one size, got {} x {} and {} x {}", pixels_HWC.size(0),
          pixels_HWC.size(1), labels_HW.size(0), labels_HW.size(1));
  const double ratio = random.uniform(options.min_ratio, options.max_ratio);
  const auto scaled = [&](int64_t side) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(side) * ratio));
  };
  const ImageSize size = fit_into(size_of(pixels_HWC), {scaled(options.limit.height), scaled(options.limit.width)});
  const auto scaled_labels_HW = resize_labels(labels_HW, size);
  const Box box = draw_crop(scaled_labels_HW, options, random);
  const bool mirrored = random.uniform() < 0.5;
  const auto crop_HWC = resize_bilinear(pixels_HWC, size, box);
  if (options.distortion) photometric_distortion_(crop_HWC, random);
  return {padded_image(to_float(crop_HWC, kImagenetScale, mirrored), options.crop),
          padded_labels(scaled_labels_HW, box, options.crop, mirrored)};
}

torch::Tensor segmentation_test_view(const torch::Tensor& pixels_HWC, const SegmentationViewOptions& options) {
  require_pixels(pixels_HWC, "segmentation view");
  require_options(options);
  const ImageSize size = fit_into(size_of(pixels_HWC), options.limit);
  return to_float(resize_bilinear(pixels_HWC, size, {0, 0, size.height, size.width}), kImagenetScale);
}

}  // namespace beit

// From an image and its label map to what a segmentation network sees: functions of both and the random stream only.
// The published recipe's (mmsegmentation 0.11): images are resized as OpenCV does, so that the pixels are the same.
#pragma once

#include <torch/torch.h>

#include "base/random.h"
#include "data/box.h"
#include "data/label_map.h"

namespace beit {

/// The largest size of the image's aspect ratio whose longer side is at most the limit's longer one, and whose shorter
/// side at most the shorter one; rounded.
ImageSize fit_into(const ImageSize& image, const ImageSize& limit);

struct SegmentationViewOptions {
  ImageSize limit{512, 2048};  ///< images are scaled to fit into it, in either direction
  double min_ratio = 0.5;      ///< in training, into it times a ratio uniform in [min_ratio, max_ratio]
  double max_ratio = 2.0;
  ImageSize crop{512, 512};
  double max_class_share = 0.75;  ///< of a crop's labelled pixels; 1: any crop will do
  bool distortion = true;         ///< photometric
};

struct SegmentationView {
  torch::Tensor image_CHW;  ///< float32, ImageNet mean and standard deviation; 0 where the image does not reach
  torch::Tensor labels_HW;  ///< uint8; kIgnoredLabel there
};

/// For training: scaled, cropped to at most `crop` (drawn anew up to ten times while one class takes more than its
/// share, or there is only one), mirrored half of the time, distorted, and padded to `crop` on the right and below.
SegmentationView segmentation_training_view(const torch::Tensor& pixels_HWC, const torch::Tensor& labels_HW,
                                            const SegmentationViewOptions& options, Random& random);

/// For evaluation: the whole image, float32 [3, H', W'], scaled to fit into the limit. Labels keep their size.
torch::Tensor segmentation_test_view(const torch::Tensor& pixels_HWC, const SegmentationViewOptions& options);

}  // namespace beit

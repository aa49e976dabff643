// How often each class was taken for each: accuracies and intersections over unions of a whole set.
// Shape letters: K classes, M samples (images, or pixels).
#pragma once

#include <torch/torch.h>

namespace beit {

/// Counts of a whole set; figures are in percent, of classes [K] in float64, NaN where a class does not occur.
class Confusion {
 public:
  explicit Confusion(int64_t classes);

  /// `predicted_M` in [0, K) and labels of the same shape, whole numbers of any type and device; samples whose label is
  /// outside of [0, K) are of no class and left out.
  void add(const torch::Tensor& predicted_M, const torch::Tensor& labels_M);

  /// int64 [K, K] on the CPU: row of the label, column of the prediction. To be summed over ranks in place.
  torch::Tensor& counts() { return counts_KK_; }
  const torch::Tensor& counts() const { return counts_KK_; }

  double accuracy() const;               ///< share of the samples that are right: aAcc; NaN without any
  torch::Tensor class_accuracy() const;  ///< share of a class's samples that are right
  torch::Tensor iou() const;             ///< right / (label or prediction)
  double mean_accuracy() const;          ///< over classes that occur as label: mAcc
  double mean_iou() const;               ///< over classes that occur as label or prediction: mIoU

 private:
  torch::Tensor counts_KK_;
};

}  // namespace beit

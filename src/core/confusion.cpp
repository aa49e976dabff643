#include "core/confusion.h"

#include "base/error.h"

namespace beit {

Confusion::Confusion(int64_t classes) : counts_KK_(torch::zeros({classes, classes}, torch::kInt64)) {
  require(classes > 0, "confusion: expected at least one class, got {}", classes);
}

void Confusion::add(const torch::Tensor& predicted_M, const torch::Tensor& labels_M) {
  require(predicted_M.sizes() == labels_M.sizes(),
          "confusion: expected as many labels as predictions, got [{}] and [{}]", fmt::join(labels_M.sizes(), ", "),
          fmt::join(predicted_M.sizes(), ", "));
  const int64_t classes = counts_KK_.size(0);
  const auto labels = labels_M.to(torch::kInt64), predicted = predicted_M.to(labels.device(), torch::kInt64);
  const auto known = labels.ge(0).logical_and(labels.lt(classes));
  const auto pairs = (labels * classes + predicted).masked_select(known);
  counts_KK_ += pairs.bincount({}, classes * classes).view({classes, classes}).to(torch::kCPU);
}

double Confusion::accuracy() const { return 100 * counts_KK_.trace().item<double>() / counts_KK_.sum().item<double>(); }

torch::Tensor Confusion::class_accuracy() const {
  return 100 * counts_KK_.diagonal().to(torch::kFloat64) / counts_KK_.sum(1).to(torch::kFloat64);
}

torch::Tensor Confusion::iou() const {
  const auto right_K = counts_KK_.diagonal();
  return 100 * right_K.to(torch::kFloat64) / (counts_KK_.sum(0) + counts_KK_.sum(1) - right_K).to(torch::kFloat64);
}

double Confusion::mean_accuracy() const { return class_accuracy().nanmean().item<double>(); }
double Confusion::mean_iou() const { return iou().nanmean().item<double>(); }

}  // namespace beit

#include "core/metrics.h"

#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"

namespace beit {

double top1_percent(const torch::Tensor& scores_MK, const torch::Tensor& labels_M) {
  return 100.0 * scores_MK.argmax(1).eq(labels_M).to(torch::kFloat64).mean().item<double>();
}

torch::Tensor label_ranks(const torch::Tensor& scores_MK, const torch::Tensor& labels_M) {
  const auto labels_M1 = labels_M.unsqueeze(1);
  const auto own_M1 = scores_MK.gather(1, labels_M1);
  const auto place_K = torch::arange(scores_MK.size(1), labels_M.options());
  // Said of what stands behind: no comparison holds of what is not a number.
  const auto behind_MK = scores_MK.lt(own_M1).logical_or_(scores_MK.eq(own_M1).logical_and_(place_K.ge(labels_M1)));
  return behind_MK.logical_not_().sum(1);
}

std::vector<ClassFigures> class_figures(const torch::Tensor& predicted_M, const torch::Tensor& labels_M) {
  require(predicted_M.dim() == 1 && predicted_M.sizes() == labels_M.sizes(),
          "metrics: expected as many labels as predictions, got [{}] and [{}]", fmt::join(labels_M.sizes(), ", "),
          fmt::join(predicted_M.sizes(), ", "));
  std::map<int64_t, std::map<int64_t, int64_t>> counts;
  const auto predicted = predicted_M.to(torch::kCPU, torch::kInt64).contiguous();
  const auto labels = labels_M.to(torch::kCPU, torch::kInt64).contiguous();
  for (int64_t i = 0; i < labels.size(0); ++i)
    ++counts[labels.const_data_ptr<int64_t>()[i]][predicted.const_data_ptr<int64_t>()[i]];
  std::vector<ClassFigures> classes;
  for (const auto& [label, taken_for] : counts) {
    ClassFigures figures{.label = label};
    for (const auto& [prediction, times] : taken_for) {
      figures.samples += times;
      if (prediction == label) {
        figures.right = times;
      } else if (times > figures.mistaken) {
        figures.mistaken_for = prediction;
        figures.mistaken = times;
      }
    }
    classes.push_back(figures);
  }
  return classes;
}

Summary summarise(std::span<const double> values) {
  require(!values.empty(), "metrics: expected at least one value to average, got none");
  const auto count = static_cast<double>(values.size());
  Summary summary{std::accumulate(values.begin(), values.end(), 0.0) / count, std::nullopt};
  if (values.size() > 1) {
    double squares = 0;
    for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
    summary.spread = std::sqrt(squares / (count - 1));
  }
  return summary;
}

}  // namespace beit

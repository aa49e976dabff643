// Shape letters: B images of a batch, K classes.
#include "train/class_confusion.h"

#include "base/error.h"
#include "data/augment.h"
#include "train/evaluation.h"
#include "train/evaluation_batches.h"

namespace beit {

Confusion class_confusion(const LoadedClassifier& classifier, const Dataset& images,
                          const std::vector<int64_t>& outputs, int64_t most, const DataOptions& data,
                          int64_t batch_size, const torch::Device& device, bool quiet) {
  const torch::NoGradGuard no_grad;
  Classifier model = classifier.model;
  LoaderOptions loading = evaluation_loading(data, batch_size, OnDamage::kSkip);
  loading.order = {.seed = 0, .shuffle = Shuffle::kFull};
  const auto output_of_K = torch::tensor(outputs, torch::kInt64);
  Confusion confusion(classifier.classes);
  const auto add = [&](const Batch& batch) {
    const auto has_class_B = batch.labels_B >= 0;
    const auto labels_B = output_of_K.index_select(0, batch.labels_B.clamp_min(0));
    const auto predicted_B = model->forward(batch.views[0]).argmax(1).to(torch::kCPU);
    confusion.add(predicted_B, labels_B.masked_fill(has_class_B.logical_not(), -1));
  };
  const int64_t done = each_evaluation_batch(images, evaluation_transform(classifier.options, kImagenetScale), loading,
                                             most, device, quiet, add)
                           .images;
  require(confusion.counts().sum().item<int64_t>() > 0,
          "confusion: expected images with a class among the {} looked at, got none", done);
  return confusion;
}

}  // namespace beit

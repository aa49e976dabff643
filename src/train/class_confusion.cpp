// Shape letters: B images of a batch, K classes.
#include "train/class_confusion.h"

#include <algorithm>

#include "base/error.h"
#include "data/augment.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace beit {

Confusion class_confusion(const LoadedClassifier& classifier, const Dataset& images,
                          const std::vector<int64_t>& outputs, int64_t most, const DataOptions& data,
                          int64_t batch_size, const torch::Device& device, bool quiet) {
  const torch::NoGradGuard no_grad;
  Classifier model = classifier.model;
  LoaderOptions loading = evaluation_loading(data, batch_size, OnDamage::kSkip);
  loading.order = {.seed = 0, .shuffle = Shuffle::kFull};
  Loader loader(images, evaluation_transform(classifier.options, kImagenetScale), loading);
  loader.start(/*epoch=*/0);
  const auto output_of_K = torch::tensor(outputs, torch::kInt64);
  Confusion confusion(classifier.classes);
  const int64_t wanted = std::min(most, images.size());
  Progress progress(0, wanted, 1, !quiet);
  int64_t done = 0;
  while (done < wanted) {
    const auto batch = loader.next();
    if (!batch) break;
    const int64_t count = std::min(batch->indices_B.size(0), wanted - done);
    const auto given_B = batch->labels_B.narrow(0, 0, count);
    const auto has_class_B = given_B >= 0;
    const auto labels_B = output_of_K.index_select(0, given_B.clamp_min(0));
    const auto predicted_B = model->forward(batch->views[0].narrow(0, 0, count).to(device)).argmax(1).to(torch::kCPU);
    confusion.add(predicted_B, labels_B.masked_fill(has_class_B.logical_not(), -1));
    done += count;
    progress.show(done, "");
  }
  progress.clear();
  require(confusion.counts().sum().item<int64_t>() > 0,
          "confusion: expected images with a class among the {} looked at, got none", done);
  return confusion;
}

}  // namespace beit

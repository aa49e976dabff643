#include "train/evaluation_batches.h"

#include <algorithm>

#include "train/device_batches.h"
#include "train/progress.h"

namespace beit {

Passed each_evaluation_batch(const Dataset& images, const Transform& transform, LoaderOptions loading, int64_t most,
                             const torch::Device& device, bool quiet, const std::function<void(const Batch&)>& use) {
  loading.pin_memory = device.is_cuda();
  Loader loader(images, transform, loading);
  DeviceBatches batches(loader, device);
  batches.start(/*epoch=*/0);
  const int64_t wanted = std::min(most, images.size());
  Progress progress(0, wanted, 1, !quiet);
  Passed passed;
  while (passed.images < wanted) {
    auto batch = batches.next();
    if (!batch) break;
    const int64_t count = std::min(batch->indices_B.size(0), wanted - passed.images);
    for (torch::Tensor& view : batch->views) view = view.to(device).narrow(0, 0, count);
    batch->indices_B = batch->indices_B.narrow(0, 0, count);
    batch->labels_B = batch->labels_B.narrow(0, 0, count);
    use(*batch);
    passed.images += count;
    progress.show(passed.images, "");
  }
  progress.clear();
  passed.damaged = loader.damaged();
  passed.images_per_s = progress.images_per_s(passed.images);
  return passed;
}

}  // namespace beit

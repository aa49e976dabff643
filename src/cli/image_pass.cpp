#include "cli/image_pass.h"

#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "train/device_batches.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace beit {
namespace {

std::optional<Batch> next_of(DeviceBatches& batches) try { return batches.next(); } catch (const Error& error) {
  fail("{}; --skip-damaged leaves such images out", error.what());
}

}  // namespace

Passed each_batch(const Dataset& images, const Transform& transform, const ImagePass& pass,
                  const std::function<void(const Batch&)>& use) {
  auto loading = evaluation_loading(pass.data, pass.batch_size, pass.skip_damaged ? OnDamage::kSkip : OnDamage::kFail);
  loading.pin_memory = pass.device.is_cuda();
  Loader loader(images, transform, loading);
  DeviceBatches batches(loader, pass.device);
  batches.start(/*epoch=*/0);
  Progress progress(0, images.size(), 1, !pass.quiet);
  Passed passed;
  while (const auto batch = next_of(batches)) {
    use(*batch);
    passed.images += batch->indices_B.size(0);
    progress.show(passed.images, "");
  }
  progress.clear();
  passed.damaged = loader.damaged();
  passed.images_per_s = progress.images_per_s(passed.images);
  require(passed.images > 0, "{}: expected images that can be read, got {} damaged ones", pass.command, passed.damaged);
  if (passed.damaged > 0) {
    log().warn("{} damaged image{} left out", passed.damaged, passed.damaged == 1 ? " was" : "s were");
  }
  return passed;
}

}  // namespace beit

#include "cli/image_pass.h"

#include "base/error.h"
#include "base/log.h"
#include "train/evaluation.h"

namespace beit {

Passed each_batch(const Dataset& images, const Transform& transform, const ImagePass& pass,
                  const std::function<void(const Batch&)>& use) {
  const auto loading =
      evaluation_loading(pass.data, pass.batch_size, pass.skip_damaged ? OnDamage::kSkip : OnDamage::kFail);
  Passed passed;
  bool in_use = false;  // whose errors are none of the images'
  try {
    passed = each_evaluation_batch(images, transform, loading, images.size(), pass.device, pass.quiet,
                                   [&](const Batch& batch) {
                                     in_use = true;
                                     use(batch);
                                     in_use = false;
                                   });
  } catch (const Error& error) {
    if (in_use) throw;
    fail("{}; --skip-damaged leaves such images out", error.what());
  }
  require(passed.images > 0, "{}: expected images that can be read, got {} damaged ones", pass.command, passed.damaged);
  if (passed.damaged > 0) {
    log().warn("{} damaged image{} left out", passed.damaged, passed.damaged == 1 ? " was" : "s were");
  }
  return passed;
}

}  // namespace beit

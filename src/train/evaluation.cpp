#include "train/evaluation.h"

#include "base/error.h"
#include "data/augment.h"
#include "data/resize.h"

namespace beit {

void require_a_patch(const torch::Tensor& pixels_HWC, int64_t patch_size) {
  require(pixels_HWC.size(0) >= patch_size && pixels_HWC.size(1) >= patch_size,
          "expected an image of a patch of {0}x{0} pixels at least, got {1}x{2}", patch_size, pixels_HWC.size(0),
          pixels_HWC.size(1));
}

Transform evaluation_transform(const ModelOptions& model) {
  return [size = ImageSize{model.image_size, model.image_size}, patch = model.patch_size](
             const torch::Tensor& pixels_HWC, uint64_t /*epoch*/, int64_t /*index*/) -> Views {
    require_a_patch(pixels_HWC, patch);
    return {to_float(evaluation_view(pixels_HWC, size))};
  };
}

LoaderOptions evaluation_order(int64_t batch_size, int64_t workers) {
  return {
      .batch_size = batch_size, .workers = workers, .shuffle = false, .drop_last = false, .on_damage = OnDamage::kSkip};
}

}  // namespace beit

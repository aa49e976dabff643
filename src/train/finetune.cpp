#include "train/finetune.h"

#include "data/rand_augment.h"
#include "data/random_erasing.h"
#include "data/views.h"
#include "train/evaluation.h"

namespace beit {

Transform finetune_transform(const ModelOptions& model, const DataOptions& data, const AugmentOptions& augment,
                             uint64_t seed) {
  FinetuneViewOptions view{
      .size = {model.image_size, model.image_size}, .min_crop = data.min_crop, .decoding = decoding_of(data)};
  const RandAugmentOptions operations = parse_rand_augment(augment.rand_augment);
  if (operations.layers > 0) {
    view.augment = [operations](const torch::Tensor& pixels_HWC, Random& random) {
      rand_augment_(pixels_HWC, operations, random);
      return pixels_HWC;
    };
  }
  const RandomErasingOptions erasing{.probability = augment.random_erasing, .count = augment.erasing_count};
  return [view, erasing, patch = model.patch_size, seed](EncodedImage& image, const SampleRequest& sample) -> Views {
    require_a_patch(image.size(), patch);
    Random random(seed, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
    const auto image_CHW = finetune_view(image, view, random, sample.output);
    random_erasing_(image_CHW, erasing, random);
    return {image_CHW};
  };
}

}  // namespace beit

#include "train/finetune.h"

#include "data/random_erasing.h"
#include "data/views.h"
#include "train/evaluation.h"

namespace beit {

Transform finetune_transform(const ModelOptions& model, const DataOptions& data, const AugmentOptions& augment,
                             uint64_t seed) {
  const FinetuneViewOptions view{.size = {model.image_size, model.image_size},
                                 .min_crop = data.min_crop,
                                 .decoding = decoding_of(data),
                                 .rand_augment = parse_rand_augment(augment.rand_augment)};
  const RandomErasingOptions erasing{.probability = augment.random_erasing, .count = augment.erasing_count};
  return [view, erasing, seed](EncodedImage& image, const SampleRequest& sample) -> Views {
    Random random(seed, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
    const auto image_CHW = finetune_view(image, view, random, sample.output);
    random_erasing_(image_CHW, erasing, random);
    return {image_CHW};
  };
}

}  // namespace beit

#include "train/evaluation.h"

namespace beit {

Transform evaluation_transform(const ModelOptions& model, const PixelScale& scale) {
  return [scale, size = ImageSize{model.image_size, model.image_size}](EncodedImage& image,
                                                                       const SampleRequest& sample) -> Views {
    return {evaluation_view(image, size, scale, sample.output)};
  };
}

Decoding decoding_of(const DataOptions& data) { return data.decode == "exact" ? Decoding::kExact : Decoding::kFast; }

torch::Tensor on_device(const torch::Tensor& view, const torch::Device& device) {
  return view.to(torch::TensorOptions(device), /*non_blocking=*/true);
}

LoaderOptions evaluation_loading(const DataOptions& data, int64_t batch_size, OnDamage on_damage, int64_t rank,
                                 int64_t ranks) {
  return {.batch_size = batch_size,
          .rank = rank,
          .ranks = ranks,
          .workers = data.workers,
          .order = {.shuffle = Shuffle::kNone},
          .drop_last = false,
          .apply_orientation = data.apply_orientation,
          .on_damage = on_damage};
}

}  // namespace beit

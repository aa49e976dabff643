#include "core/step_part.h"

#include "base/error.h"

namespace beit {

void check_part(const StepPart& part, int64_t images) {
  if (part.samples == 0) return;
  const auto& samples_B = part.samples_B;
  require(samples_B.defined() && samples_B.dim() == 1 && samples_B.size(0) == images &&
              samples_B.scalar_type() == torch::kInt64,
          "step: expected the places of {} samples as int64 [{}], got {}; name each image of the part once", images,
          images,
          samples_B.defined()
              ? fmt::format("{} [{}]", torch::toString(samples_B.scalar_type()), fmt::join(samples_B.sizes(), ", "))
              : "none");
  if (images == 0 || !samples_B.is_cpu()) return;
  const auto least = samples_B.min().item<int64_t>(), most = samples_B.max().item<int64_t>();
  require(least >= 0 && most < part.samples,
          "step: expected places in [0, {}), got {} to {}; give the whole step's samples", part.samples, least, most);
}

torch::Tensor uniform_by_sample(int64_t images, const StepPart& part, const torch::Device& device) {
  const auto options = torch::TensorOptions(torch::kFloat32).device(device);
  if (part.samples == 0) return torch::rand({images}, options);
  return torch::rand({part.samples}, options).index_select(0, part.samples_B.to(device));
}

}  // namespace beit

#include "core/normalise.h"

#include "core/send.h"

namespace beit {
namespace {

torch::Tensor channels(const std::array<float, 3>& values, const torch::Device& device) {
  return send(torch::tensor(at::ArrayRef<float>(values)), device).view({1, 3, 1, 1});
}

}  // namespace

torch::Tensor normalise(const torch::Tensor& images_BCHW, const std::array<float, 3>& mean,
                        const std::array<float, 3>& std) {
  const auto device = images_BCHW.device();
  return (images_BCHW - channels(mean, device)) / channels(std, device);
}

torch::Tensor denormalise(const torch::Tensor& images_BCHW, const std::array<float, 3>& mean,
                          const std::array<float, 3>& std) {
  const auto device = images_BCHW.device();
  return images_BCHW * channels(std, device) + channels(mean, device);
}

torch::Tensor normalise(const torch::Tensor& images_BCHW, InputForm form) {
  return form == InputForm::kDefault ? images_BCHW * 2 - 1 : normalise(images_BCHW, kImagenetMean, kImagenetStd);
}

}  // namespace beit

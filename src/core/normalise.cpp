#include "core/normalise.h"

namespace beit {

torch::Tensor normalise(const torch::Tensor& images_BCHW, const std::array<float, 3>& mean,
                        const std::array<float, 3>& std) {
  const auto column = [&](const std::array<float, 3>& values) {
    return torch::tensor(at::ArrayRef<float>(values.data(), values.size())).to(images_BCHW.device()).view({1, 3, 1, 1});
  };
  return (images_BCHW - column(mean)) / column(std);
}

torch::Tensor normalise(const torch::Tensor& images_BCHW, InputForm form) {
  return form == InputForm::kDefault ? images_BCHW * 2 - 1 : normalise(images_BCHW, kImagenetMean, kImagenetStd);
}

}  // namespace beit

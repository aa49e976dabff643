// Mean and standard deviation of images in [0, 1], as the published networks expect them.
#pragma once

#include <torch/torch.h>

#include <array>

namespace beit {

constexpr std::array<float, 3> kImagenetMean{0.485F, 0.456F, 0.406F}, kImagenetStd{0.229F, 0.224F, 0.225F};
constexpr std::array<float, 3> kClipMean{0.48145466F, 0.4578275F, 0.40821073F};
constexpr std::array<float, 3> kClipStd{0.26862954F, 0.26130258F, 0.27577711F};

/// (x - mean) / std for each channel: [B, 3, H, W] to the same.
torch::Tensor normalise(const torch::Tensor& images_BCHW, const std::array<float, 3>& mean,
                        const std::array<float, 3>& std);

/// Back again: x * std + mean.
torch::Tensor denormalise(const torch::Tensor& images_BCHW, const std::array<float, 3>& mean,
                          const std::array<float, 3>& std);

/// How a tokenizer's encoder or a backbone standardises images in [0, 1].
enum class InputForm {
  kDefault,       ///< 2 x - 1
  kImagenetNorm,  ///< ImageNet's mean and standard deviation
};

/// The images as a network of that form sees them.
torch::Tensor normalise(const torch::Tensor& images_BCHW, InputForm form);

}  // namespace beit

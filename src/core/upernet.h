// Heads of segmentation: UPerNet (Xiao et al. 2018) and the auxiliary one, in the form of mmsegmentation 0.11.
// Shape letters: B images, C channels, K classes, h and w rows and columns of a map.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "core/batch_norm.h"
#include "core/step_part.h"

namespace beit {

/// What both heads are made of.
struct HeadOptions {
  int64_t in_channels = 768;  ///< of each map
  int64_t channels = 768;     ///< within the head
  int64_t classes = 150;      ///< K
  double dropout = 0.1;       ///< share of the channels left out before conv_seg in train(), in [0, 1)
};

/// Convolution without bias that keeps the size, batch norm, ReLU. Names in files: conv.weight, bn.*.
class ConvModuleImpl : public torch::nn::Module {
 public:
  ConvModuleImpl(int64_t in_channels, int64_t channels, int64_t kernel, const Ranks& ranks);
  torch::Tensor forward(const torch::Tensor& x_BChw);

 private:
  torch::nn::Conv2d conv_ = nullptr;
  BatchNorm bn_ = nullptr;
};
TORCH_MODULE(ConvModule);

/// The coarsest map sees the means of 1x1, 2x2, 3x3 and 6x6 parts of itself (pyramid pooling); from there sums go down
/// to finer ones, and all together give the classes. Names in files: psp_modules.N.1.*, bottleneck.*,
/// lateral_convs.N.*, fpn_convs.N.*, fpn_bottleneck.*, conv_seg.*.
class UPerNetImpl : public torch::nn::Module {
 public:
  explicit UPerNetImpl(const HeadOptions& options, const Ranks& ranks = {});

  /// Four maps, fine to coarse, to logits [B, K, h, w] of the finest's size.
  torch::Tensor forward(const std::vector<torch::Tensor>& maps, const StepPart& part = {});

 private:
  double dropout_;
  torch::nn::ModuleList psp_modules_, lateral_convs_, fpn_convs_;
  ConvModule bottleneck_ = nullptr, fpn_bottleneck_ = nullptr;
  torch::nn::Conv2d conv_seg_ = nullptr;
};
TORCH_MODULE(UPerNet);

/// One 3x3 convolution before the classes. Names in files: convs.0.*, conv_seg.*.
class FcnHeadImpl : public torch::nn::Module {
 public:
  explicit FcnHeadImpl(const HeadOptions& options, const Ranks& ranks = {});

  /// A map [B, C, h, w] to logits [B, K, h, w].
  torch::Tensor forward(const torch::Tensor& map_BChw, const StepPart& part = {});

 private:
  double dropout_;
  torch::nn::ModuleList convs_;
  torch::nn::Conv2d conv_seg_ = nullptr;
};
TORCH_MODULE(FcnHead);

/// Bilinear, corners not aligned, to [B, C, height, width].
torch::Tensor resize_map(const torch::Tensor& x_BChw, int64_t height, int64_t width);

}  // namespace beit

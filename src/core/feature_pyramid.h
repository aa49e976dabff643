// The backbone of dense prediction: tokens of four blocks as maps of four sizes (UPerNet's input in the published
// code). Shape letters: B images, C channels, D width of a token, h and w rows and columns of a map.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "core/ranks.h"
#include "core/vit.h"

namespace beit {

/// The blocks, counted from 1, at a third, half, two thirds and all of the depth: 4 6 8 12 of 12, 8 12 16 24 of 24.
std::vector<int64_t> pyramid_layers(int64_t depth);

/// Backbone without final norm. Names in files: as the backbone's, fpn1.{0,1,3}.*, fpn2.0.*.
class FeaturePyramidImpl : public ViTImpl {
 public:
  /// `layers`: four blocks, counted from 1, none before its predecessor, the last one at the end of the network.
  FeaturePyramidImpl(const ViTOptions& options, const std::vector<int64_t>& layers, const Ranks& ranks = {});

  /// Four maps [B, D, h, w], fine to coarse: of four times, twice, once and half (rounded down) as many rows and
  /// columns as the images [B, C, height, width] have patches. Error for fewer than 2x2 patches.
  std::vector<torch::Tensor> maps(const torch::Tensor& images_BCHW, const StepPart& part = {});

 private:
  std::vector<int64_t> layers_;
  torch::nn::Sequential fpn1_, fpn2_;
};
TORCH_MODULE(FeaturePyramid);

}  // namespace beit

// EfficientNet-Lite, an ImageNet classifier made of convolutions (Tan and Le 2019; the Lite form of TensorFlow's model
// garden): inverted bottlenecks, ReLU6, no squeeze-and-excitation. For inference only.
// Shape letters: B images, C channels, H height, W width.
#pragma once

#include <torch/torch.h>

#include <array>
#include <string>
#include <vector>

#include "core/tower_weights.h"

namespace beit {

/// The sizes Lite0 to Lite4 differ in the number of channels and of blocks, which are read from the tensors. Common to
/// all: seven stages with kernels 3 3 5 3 5 5 3 and strides 1 2 2 2 1 2 1 after a stem of stride 2, TensorFlow's "same"
/// padding, batch normalisation with eps 1e-3.
///
/// Normalisation is folded into the convolutions' weights (in double precision). On the CPU these are kept as oneDNN
/// reads them, a few images at a time are one thread's, and all is in float32 under autocast too; elsewhere weights are
/// kept channels last. Not thread-safe with to().
class EfficientNetLite {
 public:
  /// Names in files: _conv_stem, _bn0, _blocks.N.{_expand_conv,_bn0,_depthwise_conv,_bn1,_project_conv,_bn2},
  /// _conv_head, _bn1, _fc; with or without one prefix. Error where a tensor is missing, superfluous or of another
  /// shape.
  explicit EfficientNetLite(const NamedTensors& file);

  /// Images in [0, 1], float32 [B, 3, H, W], to what stands before the last stage of stride 2: [B, C, H/16, W/16],
  /// sizes rounded up, before any activation. No gradient.
  torch::Tensor map(const torch::Tensor& images_BCHW) const;

  /// The same images to the logits of the 1000 ImageNet classes: [B, 1000]. No gradient.
  torch::Tensor logits(const torch::Tensor& images_BCHW) const;

  /// C of map()
  int64_t map_channels() const { return blocks_[map_blocks_ - 1].project.weight.size(0); }

  void to(const torch::Device& device);

 private:
  struct Convolution {
    torch::Tensor weight, bias;
    int64_t kernel = 1, stride = 1, groups = 1;
    bool relu6 = true;
    /// Of each side, [height, width]
    std::array<int64_t, 2> padding(int64_t height, int64_t width) const;
    /// Makes the weights oneDNN's.
    void lay_out();
    torch::Tensor operator()(const torch::Tensor& x_BCHW) const;
  };
  struct Block {
    Convolution expand;  ///< without weight in the first block
    Convolution depthwise, project;
    bool residual = false;
  };
  class Reader;

  torch::Tensor stem(const torch::Tensor& images_BCHW) const;
  torch::Tensor run(torch::Tensor x_BCHW, size_t blocks) const;
  template <class Network>
  torch::Tensor in_parts(const torch::Tensor& images_BCHW, const Network& network) const;

  Convolution stem_, head_;
  std::vector<Block> blocks_;
  size_t map_blocks_ = 0;  ///< blocks before the last stage of stride 2
  torch::Tensor fc_weight_, fc_bias_;
};

}  // namespace beit

// The products of the networks' layers, by whichever library of the engine is fastest on this processor.
// Shape letters: M rows, D inputs, F outputs, H hidden width.
#pragma once

#include <torch/torch.h>

namespace beit {

/// x W^T + b: [.., D], [F, D] and [F] (or undefined) to [.., F]. On the CPU in float32 the backward pass refuses
/// gradients of gradients, here and below.
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight_FD, const torch::Tensor& bias_F);

/// The weights and bias of `scale_F` times a layer; scale_F may be undefined, for 1; else the layer has a bias.
struct ScaledLayer {
  torch::Tensor weight_FD, bias_F;
};
ScaledLayer scaled(const torch::nn::Linear& layer, const torch::Tensor& scale_F);
torch::Tensor linear(const torch::Tensor& x, const torch::nn::Linear& layer, const torch::Tensor& scale_F = {});

/// linear() of [M, D], called where no gradient is recorded, in float32 on the CPU; the matrices may be transposed
/// views.
torch::Tensor product(const torch::Tensor& x_MD, const torch::Tensor& weight_FD, const torch::Tensor& bias_F = {});

/// fc2(gelu(fc1(x))), GELU exact: [.., D] to [.., F]. For the backward pass only x and what goes into the GELU are
/// kept.
torch::Tensor gelu_mlp(const torch::Tensor& x, const torch::nn::Linear& fc1_HD, const torch::nn::Linear& fc2_FH);

}  // namespace beit

// Small networks as teachers' files hold them.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cmath>
#include <string>

#include "core/tower_weights.h"
#include "io/weights.h"
#include "tests/support.h"

namespace beit {

/// The network of a golden file, of 2 heads: `clip` or `dino` (4x4 patches of 4 pixels), `dinov2` or `dinov2_swiglu`
/// (5x5 of 2).
inline NamedTensors golden_teacher(const std::string& kind) {
  return tensors_under(read_safetensors(golden(kind + ".safetensors")).tensors, "w.");
}

/// The same names after `prefix`.
inline NamedTensors with_prefix(const NamedTensors& tensors, const std::string& prefix) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) result.emplace(prefix + name, tensor);
  return result;
}

/// EfficientNet-Lite of eight blocks (the second stage has two) and few channels, at random values.
inline NamedTensors small_efficientnet() {
  torch::manual_seed(9);
  constexpr std::array<int64_t, 8> kOut{4, 6, 6, 8, 10, 12, 14, 16}, kKernels{3, 3, 3, 5, 3, 5, 5, 3};
  NamedTensors file;
  const auto convolution = [&](const std::string& name, const std::string& norm, std::array<int64_t, 4> shape) {
    // Large enough that what the network sees is not lost in its biases.
    file[name + ".weight"] = 2 * torch::randn(shape) / std::sqrt(static_cast<double>(shape[1] * shape[2] * shape[3]));
    file[norm + ".weight"] = torch::rand(shape[0]) + 0.5;
    file[norm + ".bias"] = 0.3 * torch::randn(shape[0]);
    file[norm + ".running_mean"] = 0.3 * torch::randn(shape[0]);
    file[norm + ".running_var"] = torch::rand(shape[0]) + 0.5;
    file[norm + ".num_batches_tracked"] = torch::tensor(7);
  };
  convolution("_conv_stem", "_bn0", {5, 3, 3, 3});
  int64_t channels = 5;
  for (size_t i = 0; i < kOut.size(); ++i) {
    const auto name = "_blocks." + std::to_string(i) + ".";
    const int64_t wide = i == 0 ? channels : 2 * channels;
    if (i > 0) convolution(name + "_expand_conv", name + "_bn0", {wide, channels, 1, 1});
    convolution(name + "_depthwise_conv", name + "_bn1", {wide, 1, kKernels[i], kKernels[i]});
    convolution(name + "_project_conv", name + "_bn2", {kOut[i], wide, 1, 1});
    channels = kOut[i];
  }
  convolution("_conv_head", "_bn1", {20, channels, 1, 1});
  file["_fc.weight"] = torch::randn({1000, 20});
  file["_fc.bias"] = torch::randn({1000});
  return file;
}

}  // namespace beit

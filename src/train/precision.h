// Reduced precision: what a device can, products in half the bits, and the scale of the loss that float16 needs.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"

namespace beit {

/// The type that `precision` (float32, bf16, fp16) asks for beside float32; none for float32. Error where the device
/// has no fast products of that type: a processor without AMX or AVX512-BF16 takes fifty times as long in bf16.
std::optional<torch::ScalarType> reduced_type(const std::string& precision, const torch::Device& device);

/// While it lives, products and attention of this thread on that kind of device are computed in `type` (autocast of
/// LibTorch), all else as before; for the forward pass alone, backward() follows by itself. Nothing without a type.
class Autocast {
 public:
  Autocast(const torch::Device& device, std::optional<torch::ScalarType> type);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  torch::DeviceType device_;
  bool on_;
};

/// Keeps small gradients of float16 above zero: the loss is multiplied by a power of two, the gradients are divided by
/// it. Halved when gradients overflow, doubled after 2000 steps without.
class LossScale {
 public:
  /// Stays 1 unless the type is float16.
  explicit LossScale(std::optional<torch::ScalarType> type);

  double value() const { return scale_; }

  /// Divides the gradients by the scale, in place.
  void unscale(const std::vector<torch::Tensor>& grads) const;

  /// A step was taken.
  void note_step();
  /// Gradients were not finite: whether half the scale may help.
  bool halve();

  TensorMap state() const;
  /// Nothing where there is no such state: the scale starts anew.
  void set_state(const TensorMap& state);

 private:
  bool scales_;
  double scale_;
  int64_t steps_ = 0;  // since it last changed
};

}  // namespace beit

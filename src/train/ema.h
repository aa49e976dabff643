// The moving average of a model's weights.
#pragma once

#include <torch/torch.h>

#include <utility>
#include <vector>

#include "io/safetensors.h"

namespace beit {

/// Averages of the parameters that require a gradient, and of batch norm's running statistics, which belong to them;
/// what else moves otherwise, such as a codebook, has none. Starts from the weights at hand.
class Ema {
 public:
  /// `decay` in (0, 1).
  Ema(const torch::nn::Module& model, double decay);

  /// After each step: average = decay * average + (1 - decay) * weight.
  void update();

  /// Puts the averages in the model's weights' place, and those in theirs; a second call undoes it.
  void exchange();

  /// By the names of parameters and statistics, sharing memory with this object.
  TensorMap state() const;
  /// Copies a state. Error where an average is missing or of another shape.
  void set_state(const TensorMap& state);

 private:
  double decay_;
  std::vector<std::string> names_;
  std::vector<torch::Tensor> weights_, averages_;
};

}  // namespace beit

// A transformer block with layer scale and stochastic depth.
// Shape letters: B images, T tokens, Q tokens asked for, D width, H heads, S samples that a branch is computed for.
#pragma once

#include <torch/torch.h>

#include "core/attention.h"
#include "core/step_part.h"

namespace beit {

/// Two linear layers with exact (erf) GELU between (core/linear.h). Names in files: fc1.*, fc2.*.
class MlpImpl : public torch::nn::Module {
 public:
  MlpImpl(int64_t width, int64_t hidden);
  torch::Tensor forward(const torch::Tensor& x_BTD);
  /// The same times scale_D, which goes into the last layer's weights.
  torch::Tensor scaled(const torch::Tensor& x_BTD, const torch::Tensor& scale_D);

  torch::nn::Linear fc1 = nullptr, fc2 = nullptr;
};
TORCH_MODULE(Mlp);

/// x += gamma_1 * attn(norm1(x)); x += gamma_2 * mlp(norm2(x)).
/// In train() each branch is left out for a sample with probability `drop_path` and scaled by 1/(1-p) otherwise; the
/// draw comes from LibTorch's generator, which the training loop seeds for every step, and belongs to the sample
/// (core/step_part.h). On the CPU nothing is computed for samples that are left out.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(const ViTOptions& options, double drop_path);
  /// [B, T, D] to the same; where `tokens_BQ` (int64) names some tokens of each image, to theirs alone, [B, Q, D]: for
  /// the others keys and values are computed and no more.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                        const std::optional<OtherGrid>& other = {}, const StepPart& part = {},
                        const torch::Tensor& tokens_BQ = {});

  /// How the block's attention weighs these tokens, without gradient: [B, H, T, T] (core/attention.h).
  torch::Tensor attention(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                          const std::optional<OtherGrid>& other = {});

  /// Whether train() keeps only the block's input for the backward pass and computes the rest again (core/recompute.h).
  void set_recompute(bool on) { recompute_ = on; }

  /// Divides attn.proj.weight and mlp.fc2.weight by sqrt(2 * number), number counted from 1.
  void rescale(int64_t number);

 private:
  /// Which samples a branch is computed for and by how much it counts.
  struct Depth {
    torch::Tensor kept_S = {};      ///< int64, rising; undefined: all
    double factor = 1;              ///< of all that it is computed for
    torch::Tensor factor_B11 = {};  ///< of each in addition; undefined: 1

    /// Those samples of a tensor whose first dimension they are; undefined stays so.
    torch::Tensor of(const torch::Tensor& x) const;
    /// x + factor * gamma * branch, which is of those samples; gamma may be undefined.
    torch::Tensor add(const torch::Tensor& x_BTD, torch::Tensor branch_STD, const torch::Tensor& gamma_D) const;
    /// x with update(x, factor * gamma) in the place of those samples.
    template <class Update>
    torch::Tensor replace(const torch::Tensor& x_BTD, const torch::Tensor& gamma_D, const Update& update) const;
  };

  Depth draw_depth(const torch::Tensor& x_BTD, const StepPart& part) const;
  torch::Tensor branches(const torch::Tensor& x_BTD, const torch::Tensor& bias_HTT,
                         const std::optional<OtherGrid>& other, const torch::Tensor& tokens_BQ, const Depth& attn,
                         const Depth& mlp);

  double drop_path_;
  bool recompute_ = false;
  torch::nn::LayerNorm norm1_ = nullptr, norm2_ = nullptr;
  Attention attn_ = nullptr;
  Mlp mlp_ = nullptr;
  torch::Tensor gamma_1_D_, gamma_2_D_;
};
TORCH_MODULE(Block);

/// LayerNorm as all of the method's own networks have it (eps 1e-6).
torch::nn::LayerNorm layer_norm(int64_t width);

/// `depth` rates rising linearly from 0 to `last`.
std::vector<double> drop_path_rates(double last, int64_t depth);

}  // namespace beit

// AdamW with the method's parameter groups.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "train/distributed.h"

namespace beit {

/// The learning rate of layer l is multiplied by rate^(depth + 1 - l).
struct LayerDecay {
  double rate = 1.0;
  int64_t depth = 0;  ///< blocks; needed where the rate is not 1
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.05;
  LayerDecay layers = {};
};

/// Whether a parameter decays: not one-dimensional, no `.bias`, no `pos_embed`, no `cls_token` (with or without
/// `encoder.` or `decoder.` before the name; behind `backbone.` these two decay, as published).
bool decays(const std::string& name, const torch::Tensor& parameter);

/// cls_token, mask_token, pos_embed and patch_embed.* are layer 0, block i is layer i + 1, all else depth + 1; with or
/// without `backbone.` before the name.
int64_t layer_of(const std::string& name, int64_t depth);

/// Parameters that take part are those which require a gradient. In float32 on the processor gradients are read twice
/// a step, for their norm and for the step itself; elsewhere a step is one fused LibTorch kernel for each group.
///
/// With `shards`, each of those ranks holds the state of a part of the parameters, moves that part, and hands it to the
/// others (ZeRO, stage 1): step() and state() are collective then, and the result is the same to the bit. Gradients
/// must be the same on all ranks.
class AdamW {
 public:
  /// `shards` must outlive the optimizer; without, or where it is one rank, all state is here.
  AdamW(const torch::nn::Module& model, const AdamWOptions& options, Distributed* shards = nullptr);

  /// One step at the learning rate `lr` with gradients times `grad_scale`; parameters without a gradient stay. Whether
  /// the gradients themselves are scaled is left open.
  void step(double lr, double grad_scale = 1.0);
  void zero_grad();

  /// Of the parameters that have one.
  std::vector<torch::Tensor> grads() const;
  /// Norm of all gradients together, a float64 scalar on their device, which is not waited for; the same to the bit
  /// with any number of threads in float32 on the processor.
  torch::Tensor grad_norm() const;

  /// State by name (`exp_avg.<parameter>`, `exp_avg_sq.<parameter>`, `step`), sharing memory with this object where it
  /// is held here; in shards, all of it on the first rank, and on the others what they hold.
  std::map<std::string, torch::Tensor> state() const;
  /// Copies from a whole state what is held here; Error where it is not this model's.
  void set_state(const std::map<std::string, torch::Tensor>& state);

 private:
  struct Parameter {
    std::string name;
    torch::Tensor value;
    int64_t owner;                                // the rank that holds the state
    torch::Tensor exp_avg = {}, exp_avg_sq = {};  // undefined elsewhere
  };
  struct Group {
    double lr_scale, weight_decay;
    std::vector<Parameter> parameters;
  };

  bool owns(const Parameter& parameter) const { return shards_ == nullptr || parameter.owner == shards_->rank(); }
  void share_parameters();
  std::map<std::string, torch::Tensor> own_state() const;

  AdamWOptions options_;
  Distributed* shards_;  // null: all is here
  std::vector<Group> groups_;
  torch::Tensor step_;  // float32, steps taken, where the parameters are
  int64_t taken_ = 0;   // the same
};

}  // namespace beit

// Features of frozen networks: which ones are wanted, and how a batch of images becomes them.
// Shape letters: B images of a batch, C channels, T tokens (CLS first), N patches, D and F widths.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/config.h"
#include "train/feature_set.h"
#include "train/models.h"

namespace beit {

/// What --layer, --pooling and --final-norm say.
struct FeatureChoice {
  std::vector<std::string> layer{"0"}, pooling{"mean"};
  bool final_norm = false;
};
OptionList describe(FeatureChoice& choice);

/// Every layer with every pooling, in the order they were given, each once. Error for a layer that is neither `all` nor
/// a whole number from 0 (the last) to `depth`, and for another pooling than those of `poolings`.
std::vector<FeatureSet> feature_sets(const FeatureChoice& choice, int64_t depth,
                                     const std::vector<std::string>& poolings);

/// Images [B, C, H, W] in [0, 1] to the features of `sets`, all from one pass through the network.
struct FeatureSource {
  std::vector<FeatureSet> sets;
  std::function<std::vector<torch::Tensor>(const torch::Tensor& images_BCHW)> of;
};

/// Tokens after blocks; with `final_norm`, those of the last block after the network's own last norm (`norm`, or
/// `fc_norm` where the network has that).
FeatureSource backbone_features(const LoadedBackbone& backbone, std::vector<FeatureSet> sets, bool final_norm);

/// The teacher's map, on the grid of a resolved model: `patches`, or their mean.
FeatureSource teacher_features(const TeacherChoice& choice, const ModelOptions& student, std::vector<FeatureSet> sets,
                               const torch::Device& device);

}  // namespace beit

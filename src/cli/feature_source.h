// Features of frozen networks: what the command line says of them, and those of teachers.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "train/backbone_features.h"

namespace beit {

/// What --layer, --pooling and --final-norm say.
struct FeatureChoice {
  std::vector<std::string> layer{"0"}, pooling{"mean"};
  bool final_norm = false;
};
/// `poolings`: those that the command knows.
OptionList describe(FeatureChoice& choice, const std::vector<std::string>& poolings);

/// Every layer with every pooling, in the order they were given, each once. Error for a layer that is neither `all` nor
/// a whole number from 0 (the last) to `depth`, and for another pooling than those of `poolings`.
std::vector<FeatureSet> feature_sets(const FeatureChoice& choice, int64_t depth,
                                     const std::vector<std::string>& poolings);

/// The teacher's map, on the grid of a resolved model: `patches`, or their mean.
FeatureSource teacher_features(const TeacherChoice& choice, const ModelOptions& student, std::vector<FeatureSet> sets,
                               const torch::Device& device);

}  // namespace beit

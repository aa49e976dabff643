#include "cli/feature_source.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "cli/number_list.h"
#include "train/targets.h"

namespace beit {

OptionList describe(FeatureChoice& choice, const std::vector<std::string>& poolings) {
  std::string help = "mean of the patch tokens, cls: the CLS token, or both joined; again for several";
  if (std::ranges::count(poolings, "tokens") > 0) help += "; tokens: all, CLS first";
  if (std::ranges::count(poolings, "patches") > 0) help += "; patches: those without CLS";
  return {{.name = "layer",
           .value = &choice.layer,
           .help = "block, from 1, whose tokens are the features, 0: the last, all: each; again for several",
           .value_name = "N|all"},
          {.name = "pooling",
           .value = &choice.pooling,
           .help = help,
           .value_name = fmt::format("{}", fmt::join(poolings, "|"))},
          {.name = "final-norm",
           .value = &choice.final_norm,
           .help = "apply the network's own last norm to the last block's tokens, before the pooling"}};
}

std::vector<FeatureSet> feature_sets(const FeatureChoice& choice, int64_t depth,
                                     const std::vector<std::string>& poolings) {
  require(!choice.layer.empty() && !choice.pooling.empty(), "layer: expected a layer and a pooling, got none");
  for (const std::string& pooling : choice.pooling) {
    require(std::ranges::count(poolings, pooling) > 0, "pooling: expected one of {}, got '{}'",
            fmt::join(poolings, ", "), pooling);
  }
  std::vector<int64_t> layers;
  for (const std::string& word : choice.layer) {
    if (word == "all") {
      layers.resize(static_cast<size_t>(depth));
      std::iota(layers.begin(), layers.end(), 1);
      break;
    }
    const int64_t layer = whole_numbers({word}, "layer", {.least = 0}).front();
    require(layer <= depth, "layer: expected a layer between 1 and {}, 0 for the last or all, got {}", depth, layer);
    layers.push_back(layer == 0 ? depth : layer);
  }
  std::vector<FeatureSet> sets;
  for (const int64_t layer : layers) {
    for (const std::string& pooling : choice.pooling) {
      const FeatureSet set{layer, pooling};
      if (std::ranges::find(sets, set) == sets.end()) sets.push_back(set);
    }
  }
  return sets;
}

FeatureSource teacher_features(const TeacherChoice& choice, const ModelOptions& student, std::vector<FeatureSet> sets,
                               const torch::Device& device) {
  const auto teacher = load_teacher(choice, student);
  teacher->to(device);
  auto of = [teacher, sets](const torch::Tensor& images_BCHW) {
    const auto map_BNF = teacher->target(images_BCHW);
    std::vector<torch::Tensor> features;
    for (const FeatureSet& set : sets) features.push_back(set.pooling == "patches" ? map_BNF : map_BNF.mean(1));
    return features;
  };
  return {std::move(sets), std::move(of)};
}

}  // namespace beit

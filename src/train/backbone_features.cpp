#include "train/backbone_features.h"

#include <algorithm>

#include "core/normalise.h"
#include "core/probe.h"

namespace beit {
namespace {

torch::Tensor pooled(const torch::Tensor& tokens_BTD, const std::string& pooling) {
  if (pooling == "tokens") return tokens_BTD;
  if (pooling == "patches") return tokens_BTD.slice(1, 1);
  return pool(tokens_BTD, feature_pooling(pooling));
}

torch::nn::LayerNorm final_norm_of(const ViT& model) {
  const auto children = model->named_children();
  return torch::nn::LayerNorm(
      std::dynamic_pointer_cast<torch::nn::LayerNormImpl>(children[children.contains("norm") ? "norm" : "fc_norm"]));
}

}  // namespace

FeatureSource backbone_features(const LoadedBackbone& backbone, std::vector<FeatureSet> sets, bool final_norm) {
  require_norm(backbone, final_norm);
  std::vector<int64_t> layers;  // rising, each once
  for (const FeatureSet& set : sets) layers.push_back(set.layer);
  std::ranges::sort(layers);
  layers.erase(std::ranges::unique(layers).begin(), layers.end());
  auto of = [model = backbone.model, input = backbone.input, depth = backbone.options.depth, layers, sets,
             final_norm](const torch::Tensor& images_BCHW) mutable {
    auto tokens = model->layers(normalise(images_BCHW, input), layers);
    if (final_norm && layers.back() == depth) tokens.back() = final_norm_of(model)->forward(tokens.back());
    std::vector<torch::Tensor> features;
    for (const FeatureSet& set : sets) {
      const auto place = std::ranges::lower_bound(layers, set.layer) - layers.begin();
      features.push_back(pooled(tokens[static_cast<size_t>(place)], set.pooling));
    }
    return features;
  };
  return {std::move(sets), std::move(of)};
}

}  // namespace beit

// Features of a frozen backbone: which ones are wanted, and how a batch of images becomes them.
// Shape letters: B images of a batch, C channels, T tokens (CLS first), N patches, D and F widths.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

#include "train/feature_set.h"
#include "train/models.h"

namespace beit {

/// Images [B, C, H, W] in [0, 1] to the features of `sets`, all from one pass through the network.
struct FeatureSource {
  std::vector<FeatureSet> sets;
  std::function<std::vector<torch::Tensor>(const torch::Tensor& images_BCHW)> of;
};

/// Tokens after blocks; with `final_norm`, those of the last block after the network's own last norm (`norm`, or
/// `fc_norm` where the network has that), and Error where the file had none.
FeatureSource backbone_features(const LoadedBackbone& backbone, std::vector<FeatureSet> sets, bool final_norm);

}  // namespace beit

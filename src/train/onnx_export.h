// Networks as ONNX graphs, for programs without LibTorch.
// Shape letters: B images, H and W their height and width, N patches, T = N + 1 tokens (CLS first), D width.
#pragma once

#include <vector>

#include "train/feature_set.h"
#include "train/models.h"
#include "train/onnx_graph.h"

namespace beit {

// Each graph takes `images`, float32 [B, 3, H, W] in [0, 1], red first, of any number and of the size that the network
// was loaded for; their standardisation is its first part. Networks lie on the CPU and are copied. The results are the
// module's but for rounding. The metadata say `grid`, rows and columns of patches as "14x14".

/// An output for each set, under its name: what `beit features` writes (docs/FORMATS.md), float32; layers are counted
/// from 1. With `final_norm` those of the last block come after the network's own last norm.
OnnxGraph onnx_features(const LoadedBackbone& backbone, const std::vector<FeatureSet>& sets, bool final_norm);

/// `logits`, float32 [B, classes], or their softmax, `probabilities`. The metadata's `classes` is a JSON array of their
/// names, where they have some.
OnnxGraph onnx_classifier(const LoadedClassifier& classifier, bool probabilities);

/// `codes`, int64 [B, N], patches row by row: of each the nearest code, the first of equals.
OnnxGraph onnx_codes(const LoadedTokenizer& tokenizer);

}  // namespace beit

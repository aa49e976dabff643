// Which features of a backbone are meant, and what they are called in files.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace beit {

/// One kind of feature.
struct FeatureSet {
  int64_t layer = 0;    ///< block, from 1, after which it is taken; 0: a teacher's map
  std::string pooling;  ///< mean, cls, both: [B, F]; tokens: all of them, [B, T, D]; patches: without CLS, [B, N, D]

  /// "layer12.mean", "teacher.mean"
  std::string name() const { return layer == 0 ? "teacher." + pooling : fmt::format("layer{}.{}", layer, pooling); }
  bool operator==(const FeatureSet&) const = default;
};

}  // namespace beit

// What `GET /v1/codes/ID` shows: where in a set of images a code was found, and the patches nearest to it.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/dataset.h"
#include "viz/atlas.h"

namespace beit {

/// Thread-safe. Numbers that are out of range are an Error.
class CodeGallery {
 public:
  static constexpr int64_t kExamples = 12;  ///< of a code, at most

  /// `atlas` is of these images; `model` is the tokenizer's, resolved.
  CodeGallery(CodeAtlas atlas, Dataset images, const ModelOptions& model, bool apply_orientation);

  int64_t codes() const { return atlas_.uses_K.size(0); }
  int64_t examples(int64_t code) const { return std::ssize(atlas_.examples.at(static_cast<size_t>(code))); }

  /// {"code", "uses", "share", "images", "examples": [{"image", "patch", "similarity", "picture": a path}]}; `share` is
  /// that of all patches.
  nlohmann::ordered_json describe(int64_t code) const;

  /// An example amid its surroundings, outlined, as a PNG file.
  std::vector<uint8_t> picture(int64_t code, int64_t example) const;

 private:
  CodeAtlas atlas_;
  Dataset images_;
  ModelOptions model_;
  bool apply_orientation_;
  int64_t patches_;
};

}  // namespace beit

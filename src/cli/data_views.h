// Which views of images `beit data bench` and `beit data dump` are about.
#pragma once

#include <string>
#include <vector>

#include "base/config.h"
#include "data/augment.h"
#include "data/loader.h"

namespace beit {

struct ViewChoice {
  std::string transform = "pretrain";
  int64_t image_size = 224, patch_size = 16;  ///< pixels
  int64_t seed = 0;
  double min_crop = 0;  ///< 0: 0.2 for pretrain, else 0.08
  DataOptions data{.color_jitter = 0.4};
  AugmentOptions augment;

  OptionList options();

  bool is_training() const { return transform != "eval"; }
  /// Of the tensors that a sample holds, as far as they are dumped.
  std::vector<std::string> names() const;
  /// Mean and deviation of the tensors of that name.
  PixelScale scale(const std::string& name) const;

  Dataset open() const;
  /// Images in the dataset's order where `in_order`, else as in training.
  Loader loader(const Dataset& images, int64_t batch_size, bool in_order) const;
};

}  // namespace beit

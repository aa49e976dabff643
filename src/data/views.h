// From the pixels of one image to what a network sees: functions of the pixels and the random stream only. Images of
// any size; views are float32 [3, H, W].
#pragma once

#include <torch/torch.h>

#include "base/random.h"
#include "data/augment.h"
#include "data/resize.h"

namespace beit {

struct TokenizerViewOptions {
  ImageSize size;
  double min_crop = 0.08;  ///< least share of the area that a random crop keeps; 1: the evaluation view, no crop
};

struct TokenizerView {
  torch::Tensor image_CHW;  ///< in [0, 1]
  bool mirrored = false;    ///< tells the two views apart that an image has without random crop
};

/// For training a tokenizer: a crop resized by bicubic filter, mirrored half of the time.
TokenizerView tokenizer_view(const torch::Tensor& pixels_HWC, const TokenizerViewOptions& options, Random& random);

struct PretrainingViewOptions {
  ImageSize student_size;
  ImageSize tokenizer_size;
  double min_crop = 0.2;      ///< as above
  double color_jitter = 0.4;  ///< strength; 0: none
};

struct PretrainingViews {
  torch::Tensor student_CHW;    ///< ImageNet mean and standard deviation
  torch::Tensor tokenizer_CHW;  ///< in [0, 1]
};

/// For masked image modelling: colour jitter, then one crop, mirrored half of the time, resized to two sizes.
PretrainingViews pretraining_views(const torch::Tensor& pixels_HWC, const PretrainingViewOptions& options,
                                   Random& random);

}  // namespace beit

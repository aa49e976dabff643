// From an image to what a network sees: functions of the image and the random stream only. Images of any size; views
// are float32 [3, H, W]. What is drawn depends on the stream, the options and the image's size, not on how it is
// decoded.
#pragma once

#include <torch/torch.h>

#include <optional>

#include "base/random.h"
#include "data/augment.h"
#include "data/color_jitter.h"
#include "data/encoded_image.h"
#include "data/rand_augment.h"
#include "data/resize.h"
#include "data/view_output.h"

namespace beit {

/// The crop that all views of an image share.
struct CropDraw {
  bool mirrored = false;
  std::optional<Box> box = {};  ///< none: the evaluation view
  bool operator==(const CropDraw&) const = default;
};

struct TokenizerViewOptions {
  ImageSize size = {};
  double min_crop = 0.08;  ///< least share of the area that a random crop keeps; 1: the evaluation view, no crop
  Decoding decoding = Decoding::kFast;  ///< of crops; evaluation views are always exact
};

struct TokenizerView {
  torch::Tensor image_CHW;  ///< in [0, 1]
  bool mirrored = false;    ///< tells the two views apart that an image has without random crop
};

/// For training a tokenizer: a crop resized by bicubic filter, mirrored half of the time.
TokenizerView tokenizer_view(EncodedImage& image, const TokenizerViewOptions& options, Random& random,
                             const ViewOutput& output = {});

struct PretrainingViewOptions {
  ImageSize student_size = {};
  ImageSize tokenizer_size = {};
  double min_crop = 0.2;      ///< as above
  double color_jitter = 0.4;  ///< strength; 0: none
  Decoding decoding = Decoding::kFast;
};

struct PretrainingViews {
  torch::Tensor student_CHW;    ///< ImageNet mean and standard deviation
  torch::Tensor tokenizer_CHW;  ///< in [0, 1]
};

/// What pretraining_views() draws of an image of this size.
struct PretrainingDraw {
  ColorJitter jitter = {};
  CropDraw crop = {};
  bool operator==(const PretrainingDraw&) const = default;
};
PretrainingDraw draw_pretraining(const ImageSize& image, const PretrainingViewOptions& options, Random& random);

/// For masked image modelling: colour jitter, then one crop, mirrored half of the time, resized to two sizes. With
/// Decoding::kExact the jitter's contrast takes the mean grey of the whole picture. With kFast it takes that of the
/// crop; where the views hold fewer pixels than the crop as it is decoded, jitter comes after the resize, and each view
/// takes its own (docs/NUMERICS.md).
PretrainingViews pretraining_views(EncodedImage& image, const PretrainingViewOptions& options, Random& random,
                                   const ViewOutput& output = {});

struct FinetuneViewOptions {
  ImageSize size = {};
  double min_crop = 0.08;  ///< as above
  Decoding decoding = Decoding::kFast;
  RandAugmentOptions rand_augment{.layers = 0};  ///< of the mirrored crop; 0 layers: none
};

/// For fine-tuning: a crop resized by bicubic filter, mirrored half of the time, augmented; ImageNet mean and standard
/// deviation.
torch::Tensor finetune_view(EncodedImage& image, const FinetuneViewOptions& options, Random& random,
                            const ViewOutput& output = {});

/// The evaluation view (data/resize.h), equal to that of all pixels, of which only those that it shows are decoded.
torch::Tensor evaluation_view(EncodedImage& image, const ImageSize& size, const PixelScale& scale = kUnitScale,
                              const ViewOutput& output = {});

}  // namespace beit

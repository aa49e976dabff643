// Mixup (Zhang et al., 2017) and cutmix (Yun et al., 2019) of a batch, as timm's mode `batch`: one share for the whole
// batch, and each image's partner is that of the batch in reverse order. B images, K classes.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "base/random.h"
#include "data/box.h"

namespace beit {

struct MixupOptions {
  double mixup_alpha = 0.0;         ///< the share is from Beta(alpha, alpha); 0: no mixup
  double cutmix_alpha = 0.0;        ///< likewise; 0: no cutmix
  double probability = 1.0;         ///< that a batch is mixed
  double switch_probability = 0.5;  ///< of cutmix where both are on
};

/// What is drawn for one batch. Mixup: an image times `share` plus its partner times (1 - share). Cutmix: the partner's
/// pixels in `box`, where it has any; `share` is then what is left of the image's own area.
struct Mix {
  double share = 1.0;  ///< of the image itself, in [0, 1]
  Box box;             ///< empty for mixup
};

/// A cutmix box of (1 - share) of the area has the image's aspect ratio and its centre anywhere in the image; what
/// reaches out is cut off, and the share corrected by that. Off: draws nothing.
Mix draw_mix(const MixupOptions& options, const ImageSize& size, Random& random);

struct MixedBatch {
  torch::Tensor images_BCHW;
  torch::Tensor targets_BK;  ///< float32, on the labels' device; each row sums to 1
};

/// What images are mixed with: row by row what their partners give.
struct Partners {
  torch::Tensor pixels_BCHW;  ///< given_pixels() of the partners
  torch::Tensor labels_B;
};

/// Of images, what their partners take: the pixels of the box, where there is one, else all.
torch::Tensor given_pixels(const torch::Tensor& images_BCHW, const Mix& mix);

/// Float images [B, 3, H, W] and their int64 labels [B] in [0, classes) to mixed images and soft targets: `smoothing`
/// spread evenly over all classes, then mixed by the same share. The images given are left as they are, and returned
/// where the share is 1, for which there need be no partners. Error for other shapes and labels.
MixedBatch mix_batch(const torch::Tensor& images_BCHW, const torch::Tensor& labels_B, const Partners& partners,
                     int64_t classes, double smoothing, const Mix& mix);

/// The same of a whole batch, whose images are one another's partners.
MixedBatch mix_batch(const torch::Tensor& images_BCHW, const torch::Tensor& labels_B, int64_t classes, double smoothing,
                     const Mix& mix);

}  // namespace beit

// Semantic segmentation: the backbone under UPerNet (paper, section 3.4), in the form of mmsegmentation 0.11.
// Shape letters: B images, K classes, H and W height and width of an image, h and w rows and columns of a map.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "core/feature_pyramid.h"
#include "core/ranks.h"
#include "core/upernet.h"

namespace beit {

struct SegmenterOptions {
  ViTOptions vit;
  std::vector<int64_t> layers = {};  ///< four blocks, from 1, whose tokens the pyramid takes; none: pyramid_layers()
  int64_t classes = 150;             ///< K, at most 255
  int64_t channels = 768;            ///< of UPerNet
  int64_t auxiliary_channels = 256;
  double dropout = 0.1;  ///< share of a head's channels left out before its last layer in train(), drawn by sample
};

struct SegmenterLogits {
  torch::Tensor main_BKhw;       ///< four times as many rows and columns as patches: stride 4 for patches of 16 pixels
  torch::Tensor auxiliary_BKhw;  ///< as many rows and columns as patches
};

/// Names in files: backbone.* (core/feature_pyramid.h), decode_head.*, auxiliary_head.* (core/upernet.h).
///
/// Images have ImageNet's mean and deviation taken out. Batch norm takes its statistics over `ranks`
/// (core/batch_norm.h); its running statistics move with update_statistics() only. Where a step has several parts on a
/// rank, each part has statistics of its own. In train() there must be two images at once, over all ranks.
class SegmenterImpl : public torch::nn::Module {
 public:
  explicit SegmenterImpl(const SegmenterOptions& options, const Ranks& ranks = {});

  /// Sides are multiples of the patch, at least two patches. In train() collective.
  SegmenterLogits forward(const torch::Tensor& images_BCHW, const StepPart& part = {});

  /// Logits of the main head [B, K, H, W] in at least float32, of the images' size, which is any: images are padded by
  /// zeros to the right and below where a side is no multiple of the patch. Error in train().
  torch::Tensor scores(const torch::Tensor& images_BCHW);

  /// After the optimizer's step: running statistics move by what forward() noted.
  void update_statistics();
  /// In its place where the step is not taken.
  void discard_statistics();

  /// Whether the blocks compute their activations again in the backward pass.
  void set_recompute(bool on) { backbone_->set_recompute(on); }

  /// Its names begin with `backbone.` in this network.
  ViT backbone() const { return ViT(std::static_pointer_cast<ViTImpl>(backbone_.ptr())); }

  /// With layers filled in.
  const SegmenterOptions& options() const { return options_; }

 private:
  SegmenterOptions options_;
  FeaturePyramid backbone_ = nullptr;
  UPerNet decode_head_ = nullptr;
  FcnHead auxiliary_head_ = nullptr;
};
TORCH_MODULE(Segmenter);

struct SegmentationLoss {
  torch::Tensor total;            ///< main + weight * auxiliary
  torch::Tensor main, auxiliary;  ///< cross-entropy; the mean over all pixels, of which ignored ones count as 0
  torch::Tensor accuracy;         ///< of the main head, over labelled pixels, in [0, 1]; 0 where there are none
};

/// Labels: uint8 [B, H, W] in [0, K), 255 where ignored; logits are resized to their size. In at least float32, also
/// under autocast. Labels are looked at on the CPU only: on a GPU that would have to wait for it.
SegmentationLoss segmentation_loss(const SegmenterLogits& logits, const torch::Tensor& labels_BHW,
                                   double auxiliary_weight);

}  // namespace beit

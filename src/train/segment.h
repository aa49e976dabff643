// Semantic segmentation: training UPerNet on a backbone (paper, section 3.4), and measuring it.
// Shape letters: H and W pixels, K classes.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

#include "base/config.h"
#include "core/confusion.h"
#include "core/segmenter.h"
#include "data/label_maps.h"
#include "data/segmentation_views.h"
#include "train/distributed.h"
#include "train/task.h"

namespace beit {

/// Samples of training: the view, float32 [3, H, W] in ImageNet's mean and deviation, and its labels, uint8 [H, W]
/// (data/segmentation_views.h). `labels` must outlive it.
Transform segment_transform(const LabelMaps& labels, const SegmentationViewOptions& view, uint64_t seed);

/// How a network is shown whole images.
struct SegmentTesting {
  WindowOptions windows;
  int64_t workers = 2;  ///< threads that decode
};

/// The numbers of --scale; 1 where there is none. Error for what is no positive number.
std::vector<double> scales_of(const WindowOptions& windows);

/// Error unless a network of that image size can be shown images so: before there are any.
void check_windows(const WindowOptions& windows, int64_t image_size);

/// The views of an image for window_scores() (core/window_scores.h), float32 [1, 3, h, w], one for each scale.
std::vector<torch::Tensor> window_views(const torch::Tensor& pixels_HWC, const WindowOptions& windows,
                                        const std::vector<double>& scales);

/// An image and what the network predicts of it.
struct SegmentedImage {
  int64_t index = 0;           ///< in the data set
  torch::Tensor pixels_HWC;    ///< uint8, on the CPU
  torch::Tensor labels_HW;     ///< uint8, on the CPU; undefined without label maps
  torch::Tensor predicted_HW;  ///< uint8 in [0, K), at the image's own size, on the network's device
};

/// One image: the class of the largest of window_scores() (core/window_scores.h). `labels` may be null. Puts the
/// network in eval(). Error for an image or label map that is of no use, and as scales_of().
SegmentedImage segment_image(Segmenter& model, const Dataset& images, int64_t index, const LabelMaps* labels,
                             const WindowOptions& windows);

/// The same of every `ranks`-th image from `rank` on, in the data set's order.
void segment_images(Segmenter& model, const Dataset& images, const LabelMaps* labels, const SegmentTesting& testing,
                    int64_t rank, int64_t ranks, const std::function<void(const SegmentedImage&)>& take);

/// Images to be measured, of all ranks together.
struct SegmentValidation {
  const Dataset& images;
  const LabelMaps& labels;
  SegmentTesting testing;
};

class SegmentTask : public TrainingTask {
 public:
  /// `layer_decay` is the learning rate of a block over that of the next. `validation` may be null. Everything handed
  /// in must outlive the task.
  SegmentTask(Segmenter& model, double auxiliary_weight, const LayerDecay& layer_decay,
              const SegmentValidation* validation, const torch::Device& device, Distributed& distributed)
      : model_(model),
        auxiliary_weight_(auxiliary_weight),
        layer_decay_(layer_decay),
        validation_(validation),
        device_(device),
        distributed_(distributed) {}

  torch::nn::Module& model() override { return *model_; }
  LayerDecay layer_decay() const override { return layer_decay_; }
  /// Beside the loss `pixel_accuracy`, in percent: the mean of the ranks' shares of their labelled pixels.
  StepLoss loss(const Batch& batch, const StepPart& part) override;
  void step_taken() override { model_->update_statistics(); }
  void step_refused() override { model_->discard_statistics(); }
  /// Over all pixels of the set: `val_miou`, `val_macc`, `val_aacc`, in percent.
  nlohmann::ordered_json validate() override;
  /// Views of a batch's first images, their labels, and what the model predicts in eval(). Changes nothing.
  std::vector<Picture> pictures(const Batch& batch) override;

 private:
  Segmenter& model_;
  double auxiliary_weight_;
  LayerDecay layer_decay_;
  const SegmentValidation* validation_;
  torch::Device device_;
  Distributed& distributed_;
};

}  // namespace beit

#include "train/segment.h"

#include "base/error.h"
#include "core/normalise.h"
#include "core/window_scores.h"
#include "data/for_each.h"
#include "train/evaluation.h"
#include "viz/label_picture.h"

namespace beit {
namespace {

/// What a worker makes of an image for segment_images().
struct TestImage {
  int64_t index = 0;
  torch::Tensor pixels_HWC = {}, labels_HW = {};
  std::vector<torch::Tensor> views_1Chw = {};  // one a scale
};

TestImage test_image(const Dataset& images, int64_t index, const LabelMaps* labels, const WindowOptions& windows) {
  const auto bytes = images.read(index);
  TestImage made{.index = index, .pixels_HWC = EncodedImage(bytes, images.path(index)).decode()};
  const ImageSize size{made.pixels_HWC.size(0), made.pixels_HWC.size(1)};
  if (labels != nullptr) made.labels_HW = labels->read(index, size);
  made.views_1Chw = window_views(made.pixels_HWC, windows, scales_of(windows));
  return made;
}

SegmentedImage segmented(Segmenter& model, TestImage made, const WindowOptions& windows) {
  const torch::Device device = model->parameters().front().device();
  for (auto& view_1Chw : made.views_1Chw) view_1Chw = on_device(view_1Chw, device);
  const auto scores_1KHW =
      window_scores(model, made.views_1Chw, made.pixels_HWC.size(0), made.pixels_HWC.size(1), windows);
  return {made.index, made.pixels_HWC, made.labels_HW, scores_1KHW[0].argmax(0).to(torch::kUInt8)};
}

}  // namespace

Transform segment_transform(const LabelMaps& labels, const SegmentationViewOptions& view, uint64_t seed) {
  return [&labels, view, seed](EncodedImage& image, const SampleRequest& sample) -> Views {
    Random random(seed, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
    const auto made = segmentation_training_view(image.decode(), labels.read(sample.index, image.size()), view, random);
    return {made.image_CHW, made.labels_HW};
  };
}

std::vector<double> scales_of(const WindowOptions& windows) {
  std::vector<double> scales;
  for (const std::string& word : windows.scales) {
    double scale = 1;
    set({.name = "scale", .value = &scale, .help = "", .range = {.least = 0, .most = 16, .without_least = true}},
        {word}, "scale");
    scales.push_back(scale);
  }
  if (scales.empty()) scales.push_back(1);
  return scales;
}

void check_windows(const WindowOptions& windows, int64_t image_size) {
  scales_of(windows);
  require(windows.stride <= image_size,
          "stride: expected at most the {} pixels of a window, the model's image size, got {}; change --stride: two "
          "thirds of it are usual, 0 takes the whole image at once",
          image_size, windows.stride);
}

std::vector<torch::Tensor> window_views(const torch::Tensor& pixels_HWC, const WindowOptions& windows,
                                        const std::vector<double>& scales) {
  std::vector<torch::Tensor> views_1Chw;
  for (const double scale : scales) {
    const auto scaled = [&](int64_t side) {
      return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(side) * scale));
    };
    const ImageSize limit{scaled(windows.short_side), scaled(windows.long_side)};
    views_1Chw.push_back(segmentation_test_view(pixels_HWC, {.limit = limit}).unsqueeze(0));
  }
  return views_1Chw;
}

SegmentedImage segment_image(Segmenter& model, const Dataset& images, int64_t index, const LabelMaps* labels,
                             const WindowOptions& windows) {
  const torch::NoGradGuard no_grad;
  model->eval();
  return segmented(model, test_image(images, index, labels, windows), windows);
}

void segment_images(Segmenter& model, const Dataset& images, const LabelMaps* labels, const SegmentTesting& testing,
                    int64_t rank, int64_t ranks, const std::function<void(const SegmentedImage&)>& take) {
  const torch::NoGradGuard no_grad;
  const auto make = [&](int64_t i) {
    const torch::NoGradGuard none;  // of this thread
    return test_image(images, rank + i * ranks, labels, testing.windows);
  };
  model->eval();
  for_each_ahead((images.size() - rank + ranks - 1) / ranks, testing.workers, make,
                 [&](TestImage made) { take(segmented(model, std::move(made), testing.windows)); });
}

StepLoss SegmentTask::loss(const Batch& batch, const StepPart& part) {
  const SegmentationLoss loss = segmentation_loss(model_->forward(on_device(batch.views[0], device_), part),
                                                  on_device(batch.views[1], device_), auxiliary_weight_);
  return {loss.total,
          {{"main_loss", loss.main}, {"auxiliary_loss", loss.auxiliary}, {"pixel_accuracy", 100 * loss.accuracy}}};
}

nlohmann::ordered_json SegmentTask::validate() {
  if (validation_ == nullptr) return nlohmann::ordered_json::object();
  Confusion confusion(model_->options().classes);
  segment_images(model_, validation_->images, &validation_->labels, validation_->testing, distributed_.rank(),
                 distributed_.ranks(),
                 [&](const SegmentedImage& image) { confusion.add(image.predicted_HW, image.labels_HW.to(device_)); });
  model_->train();
  distributed_.sum(confusion.counts());
  return {
      {"val_miou", confusion.mean_iou()}, {"val_macc", confusion.mean_accuracy()}, {"val_aacc", confusion.accuracy()}};
}

std::vector<Picture> SegmentTask::pictures(const Batch& batch) {
  const torch::NoGradGuard no_grad;
  const int64_t shown = std::min(kShownImages, batch.indices_B.size(0));
  const auto views_BCHW = on_device(batch.views[0].narrow(0, 0, shown), device_);
  model_->eval();
  const auto predicted_BHW = model_->scores(views_BCHW).argmax(1).to(torch::kUInt8);
  model_->train();
  const auto images_BCHW = denormalise(views_BCHW.to(torch::kCPU), kImagenetMean, kImagenetStd);
  return {{"segmentation", label_picture(images_BCHW, batch.views[1].narrow(0, 0, shown), predicted_BHW)}};
}

}  // namespace beit

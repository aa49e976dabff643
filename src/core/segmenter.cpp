#include "core/segmenter.h"

#include <algorithm>

#include "base/error.h"
#include "core/full_precision.h"

namespace beit {
namespace {

constexpr int64_t kIgnored = 255;

SegmenterOptions resolved(SegmenterOptions options) {
  require(options.classes >= 1 && options.classes <= kIgnored,
          "segmenter: expected 1 to {} classes, got {}; label maps hold bytes, and {} is no class", kIgnored,
          options.classes, kIgnored);
  if (options.layers.empty()) options.layers = pyramid_layers(options.vit.depth);
  return options;
}

HeadOptions head(const SegmenterOptions& options, int64_t channels) {
  return {
      .in_channels = options.vit.width, .channels = channels, .classes = options.classes, .dropout = options.dropout};
}

void check_labels(const torch::Tensor& logits_BKhw, const torch::Tensor& labels_BHW) {
  require(labels_BHW.dim() == 3 && labels_BHW.scalar_type() == torch::kUInt8 &&
              labels_BHW.size(0) == logits_BKhw.size(0) && labels_BHW.numel() > 0,
          "segmenter: expected labels as uint8 [{}, H, W], got {} [{}]", logits_BKhw.size(0),
          torch::toString(labels_BHW.scalar_type()), fmt::join(labels_BHW.sizes(), ", "));
  if (!labels_BHW.is_cpu()) return;
  const auto most = labels_BHW.masked_fill(labels_BHW.eq(kIgnored), 0).max().item<int64_t>();
  require(most < logits_BKhw.size(1), "segmenter: expected labels in [0, {}) or {}, got {}; check --classes",
          logits_BKhw.size(1), kIgnored, most);
}

}  // namespace

SegmenterImpl::SegmenterImpl(const SegmenterOptions& options, const Ranks& ranks)
    : options_(resolved(options)),
      backbone_(register_module("backbone", FeaturePyramid(options_.vit, options_.layers, ranks))),
      decode_head_(register_module("decode_head", UPerNet(head(options_, options_.channels), ranks))),
      auxiliary_head_(register_module("auxiliary_head", FcnHead(head(options_, options_.auxiliary_channels), ranks))) {}

SegmenterLogits SegmenterImpl::forward(const torch::Tensor& images_BCHW, const StepPart& part) {
  const auto maps = backbone_->maps(images_BCHW, part);
  SegmenterLogits logits;
  logits.main_BKhw = decode_head_->forward(maps, part);
  logits.auxiliary_BKhw = auxiliary_head_->forward(maps[2], part);
  return logits;
}

torch::Tensor SegmenterImpl::scores(const torch::Tensor& images_BCHW) {
  require(!is_training() && images_BCHW.dim() == 4,
          "segmenter: expected images [B, C, H, W] in eval(), got [{}] in {}; call eval() before scores()",
          fmt::join(images_BCHW.sizes(), ", "), is_training() ? "train()" : "eval()");
  const int64_t height = images_BCHW.size(2), width = images_BCHW.size(3), patch = options_.vit.patch_size;
  const auto padded = [&](int64_t side) { return std::max((side + patch - 1) / patch, int64_t{2}) * patch; };
  const int64_t below = padded(height) - height, right = padded(width) - width;
  const auto whole_BCHW = below + right > 0 ? torch::constant_pad_nd(images_BCHW, {0, right, 0, below}) : images_BCHW;
  const auto logits_BKhw = at_least_float32(decode_head_->forward(backbone_->maps(whole_BCHW)));
  return resize_map(logits_BKhw, height + below, width + right).slice(2, 0, height).slice(3, 0, width);
}

void SegmenterImpl::update_statistics() {
  for (const auto& module : modules()) {
    if (auto* norm = module->as<BatchNormImpl>()) norm->update_statistics();
  }
}

void SegmenterImpl::discard_statistics() {
  for (const auto& module : modules()) {
    if (auto* norm = module->as<BatchNormImpl>()) norm->discard_statistics();
  }
}

SegmentationLoss segmentation_loss(const SegmenterLogits& logits, const torch::Tensor& labels_BHW,
                                   double auxiliary_weight) {
  check_labels(logits.main_BKhw, labels_BHW);
  const FullPrecision full_precision;
  const auto classes_BHW = labels_BHW.to(torch::kInt64);
  const auto resized = [&](const torch::Tensor& logits_BKhw) {
    return resize_map(at_least_float32(logits_BKhw), labels_BHW.size(1), labels_BHW.size(2));
  };
  const auto cross_entropy = [&](const torch::Tensor& logits_BKHW) {
    const auto sum = torch::cross_entropy_loss(logits_BKHW, classes_BHW, {}, at::Reduction::Sum, kIgnored);
    return sum / static_cast<double>(labels_BHW.numel());
  };
  const auto main_BKHW = resized(logits.main_BKhw);
  SegmentationLoss loss;
  loss.main = cross_entropy(main_BKHW);
  loss.auxiliary = cross_entropy(resized(logits.auxiliary_BKhw));
  loss.total = loss.main + auxiliary_weight * loss.auxiliary;
  const auto right = main_BKHW.detach().argmax(1).eq(classes_BHW).sum();
  loss.accuracy = right / classes_BHW.ne(kIgnored).sum().clamp_min(1);
  return loss;
}

}  // namespace beit

#include "train/pretrain.h"

#include <algorithm>

#include "core/normalise.h"
#include "data/mask.h"
#include "data/views.h"
#include "train/evaluation.h"
#include "train/loop.h"
#include "viz/mask_picture.h"

namespace beit {

Transform pretrain_transform(const ModelOptions& model, const MimChoice& choice, const DataOptions& data,
                             uint64_t seed) {
  const PretrainingViewOptions views{.student_size = {model.image_size, model.image_size},
                                     .tokenizer_size = {choice.tokenizer_image_size, choice.tokenizer_image_size},
                                     .min_crop = data.min_crop,
                                     .color_jitter = data.color_jitter,
                                     .decoding = decoding_of(data)};
  const MaskOptions mask{.masked = choice.masked_patches, .min_block = choice.min_mask_block};
  return [views, mask, grid = grid_of(model), seed](EncodedImage& image, const SampleRequest& sample) -> Views {
    const auto stream = [&](Purpose purpose) {
      return Random(seed, sample.epoch, static_cast<uint64_t>(sample.stream), purpose);
    };
    Random augment = stream(Purpose::kAugment), masking = stream(Purpose::kMask);
    const PretrainingViews pair = pretraining_views(image, views, augment, sample.output);
    return {pair.student_CHW, pair.tokenizer_CHW, block_mask(grid, mask, masking)};
  };
}

MimLoss PretrainTask::forward(const Batch& batch, const StepPart& part) {
  const auto masked = masked_tokens(batch.views[2], device_);
  const auto codes_M = tokenizer_->masked_codes(on_device(batch.views[1], device_), masked);
  return model_->loss(on_device(batch.views[0], device_), masked, codes_M, part);
}

StepLoss PretrainTask::loss(const Batch& batch, const StepPart& part) {
  const MimLoss loss = forward(batch, part);
  StepLoss step{loss.total, {{"mlm_loss_1", loss.main}, {"mlm_acc_1", loss.accuracy_main}}};
  if (loss.cls_pt.defined()) {
    step.parts.insert(step.parts.end(), {{"mlm_loss_2", loss.cls_pt}, {"mlm_acc_2", loss.accuracy_cls_pt}});
  }
  return step;
}

nlohmann::ordered_json PretrainTask::validate() {
  if (validation_ == nullptr) return nlohmann::ordered_json::object();
  const torch::NoGradGuard no_grad;
  model_->eval();
  auto sums = torch::zeros({3}, torch::kFloat64);  // loss, share foretold, images
  validate_on(*validation_, [&](const Batch& batch) {
    const MimLoss loss = forward(batch);  // each image has as many masked patches, so images weigh alike
    const auto rows = static_cast<double>(batch.indices_B.size(0));
    sums += rows * torch::tensor({loss.total.item<double>(), loss.accuracy_main.item<double>(), 1.0}, torch::kFloat64);
  });
  distributed_.sum(sums);
  model_->train();
  const auto means = sums / sums[2];
  nlohmann::ordered_json line{{"val_loss", means[0].item<double>()}, {"val_masked_accuracy", means[1].item<double>()}};
  return line;
}

std::vector<Picture> PretrainTask::pictures(const Batch& batch) {
  const torch::NoGradGuard no_grad;
  const int64_t shown = std::min(kShownImages, batch.indices_B.size(0));
  const auto first = [&](size_t view) { return on_device(batch.views[view].narrow(0, 0, shown), device_); };
  const auto student_BCHW = first(0), mask_BN = batch.views[2].narrow(0, 0, shown);
  const auto masked = masked_tokens(mask_BN, device_);
  model_->eval();
  const auto foretold_M = model_->forward(student_BCHW, masked).main_MV.argmax(1);
  model_->train();
  const auto right_M = foretold_M.eq(tokenizer_->masked_codes(first(1), masked));
  const auto images_BCHW = denormalise(student_BCHW.to(torch::kCPU), kImagenetMean, kImagenetStd);
  return {{"masks", mask_picture(images_BCHW, mask_BN, right_M, model_->grid(student_BCHW))}};
}

}  // namespace beit

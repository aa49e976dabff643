#include "train/finetune.h"

#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "core/metrics.h"
#include "data/random_erasing.h"
#include "data/views.h"
#include "io/weights.h"
#include "train/backbone_start.h"
#include "train/evaluation.h"
#include "train/loop.h"

namespace beit {
namespace {

/// The rows of all parts; of a single one without a copy.
torch::Tensor joined(std::vector<torch::Tensor> parts) { return parts.size() == 1 ? parts.front() : torch::cat(parts); }

/// Why the head of a classifier's file is of no use here; nothing where it is.
std::string misfit(const ClassifierImpl& network, const NetworkFile& file,
                   const std::vector<std::string>& class_names) {
  if (file.pooling() != network.pooling()) return "its pooling is another";
  if (file.classes != network.classes()) return fmt::format("the data has {} classes", network.classes());
  if (!file.class_names.empty() && file.class_names != class_names) return "the data has classes of other names";
  return {};
}

}  // namespace

Transform finetune_transform(const ModelOptions& model, const DataOptions& data, const AugmentOptions& augment,
                             uint64_t seed) {
  const FinetuneViewOptions view{.size = {model.image_size, model.image_size},
                                 .min_crop = data.min_crop,
                                 .decoding = decoding_of(data),
                                 .rand_augment = parse_rand_augment(augment.rand_augment)};
  const RandomErasingOptions erasing{.probability = augment.random_erasing, .count = augment.erasing_count};
  return [view, erasing, seed](EncodedImage& image, const SampleRequest& sample) -> Views {
    Random random(seed, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
    const auto image_CHW = finetune_view(image, view, random, sample.output);
    random_erasing_(image_CHW, erasing, random);
    return {image_CHW};
  };
}

void start_from(Classifier& network, const NetworkFile& file, const std::vector<std::string>& class_names) {
  start_from(*network, "", file);
  if (file.network != Network::kClassifier) return;
  const std::string reason = misfit(*network, file, class_names);
  if (!reason.empty()) {
    log().info("{}: its head of {} classes is left out: {}", file.path, file.classes, reason);
    return;
  }
  TensorMap head;
  for (const auto& [name, tensor] : tensors_under(file.tensors, "head.")) head.emplace("head." + name, tensor);
  const LoadReport report = load_state_dict(*network, head);
  require(head.size() == 2 && report.unexpected.empty() && report.wrong_shape.empty() && report.wrong_dtype.empty(),
          "{}: expected a head of weight and bias for {} classes, got other tensors; the file is damaged", file.path,
          file.classes);
  log().info("{}: its head of {} classes is taken{}", file.path, file.classes,
             file.class_names.empty() ? ", as if they were the data's, in the order of their names" : "");
}

FinetuneTask::FinetuneTask(Classifier& model, const MixOptions& mix, double layer_decay, Loader* validation,
                           torch::Tensor val_classes_V, const torch::Device& device, Distributed& distributed)
    : model_(model),
      mixup_{.mixup_alpha = mix.mixup,
             .cutmix_alpha = mix.cutmix,
             .probability = mix.mix_probability,
             .switch_probability = mix.cutmix_probability},
      label_smoothing_(mix.label_smoothing),
      layer_decay_(layer_decay),
      validation_(validation),
      val_classes_V_(std::move(val_classes_V)),
      device_(device),
      distributed_(distributed) {}

void FinetuneTask::begin_step(const std::vector<Batch>& batches, const std::vector<StepPart>&) {
  std::vector<torch::Tensor> images, labels;
  for (const Batch& batch : batches) {
    images.push_back(on_device(batch.views[0], device_));
    labels.push_back(batch.labels_B);
  }
  const auto images_BCHW = joined(std::move(images)), labels_B = on_device(joined(std::move(labels)), device_);

  // LibTorch's generator is seeded alike on all ranks.
  const auto seed = torch::randint(std::numeric_limits<int64_t>::max(), {1}, torch::kInt64).item<int64_t>();
  Random random(static_cast<uint64_t>(seed), 0, 0, Purpose::kStep);
  const Mix mix = draw_mix(mixup_, {images_BCHW.size(2), images_BCHW.size(3)}, random);
  Partners partners;
  if (mix.share < 1.0) {
    // Row i of rank r, of n rows and R ranks, is sample i * R + r; its partner is row n - 1 - i of rank R - 1 - r.
    const int64_t peer = distributed_.ranks() - 1 - distributed_.rank();
    partners = {distributed_.exchange(given_pixels(images_BCHW, mix), peer).flip(0),
                distributed_.exchange(labels_B, peer).flip(0)};
  }
  const MixedBatch all = mix_batch(images_BCHW, labels_B, partners, model_->classes(), label_smoothing_, mix);
  parts_.clear();
  next_part_ = 0;
  int64_t row = 0;
  for (const Batch& batch : batches) {
    const int64_t rows = batch.labels_B.size(0);
    parts_.push_back({all.images_BCHW.narrow(0, row, rows), all.targets_BK.narrow(0, row, rows)});
    row += rows;
  }
}

StepLoss FinetuneTask::loss(const Batch& batch, const StepPart& part) {
  const MixedBatch mixed = std::exchange(parts_.at(next_part_++), {});
  const auto logits_BK = model_->forward(mixed.images_BCHW, part);
  StepLoss step{soft_cross_entropy(logits_BK, mixed.targets_BK), {}};
  const bool mixes = mixup_.probability > 0 && (mixup_.mixup_alpha > 0 || mixup_.cutmix_alpha > 0);
  if (!mixes) {
    const auto right_B = logits_BK.detach().argmax(1).eq(on_device(batch.labels_B, device_));
    step.parts.emplace_back("top1", 100 * right_B.to(torch::kFloat64).mean());
  }
  return step;
}

nlohmann::ordered_json FinetuneTask::validate() {
  if (validation_ == nullptr) return nlohmann::ordered_json::object();
  const torch::NoGradGuard no_grad;
  model_->eval();
  auto sums = torch::zeros({4}, torch::TensorOptions(device_).dtype(torch::kFloat64));  // loss, first, first 5, images
  validate_on(*validation_, [&](const Batch& batch) {
    const auto labels_B = on_device(val_classes_V_.index_select(0, batch.labels_B), device_);
    const auto logits_BK = model_->forward(on_device(batch.views[0], device_));
    const auto ranks_B = label_ranks(logits_BK, labels_B);
    const auto loss = torch::cross_entropy_loss(logits_BK, labels_B, {}, at::Reduction::Sum).to(torch::kFloat64);
    sums += torch::stack({loss, ranks_B.lt(1).sum().to(torch::kFloat64), ranks_B.lt(5).sum().to(torch::kFloat64),
                          torch::full_like(loss, labels_B.size(0))});
  });
  distributed_.sum(sums);
  model_->train();
  const auto means = (sums / sums[3]).cpu();
  nlohmann::ordered_json figures{{"val_loss", means[0].item<double>()}, {"val_top1", 100 * means[1].item<double>()}};
  if (model_->classes() > 5) figures["val_top5"] = 100 * means[2].item<double>();
  return figures;
}

}  // namespace beit

#include "train/vqkd.h"

#include <algorithm>

#include "base/log.h"
#include "data/views.h"
#include "train/evaluation.h"
#include "train/loop.h"
#include "viz/feature_picture.h"

namespace beit {
namespace {

constexpr int64_t kLookEvery = 50;     // steps between two looks at the codes' use
constexpr int64_t kLeastVectors = 10;  // a code, for it to say something
constexpr double kAlarmShare = 0.1;    // of the codes, as perplexity; a sound codebook has more than half

nlohmann::ordered_json figures(const std::string& prefix, const CodeUsage& usage) {
  return {{prefix + "usage_percent", usage.percent},
          {prefix + "unused_codes", usage.unused},
          {prefix + "perplexity", usage.perplexity}};
}

}  // namespace

Transform vqkd_transform(const ModelOptions& model, const DataOptions& data, uint64_t seed) {
  const TokenizerViewOptions options{
      .size = {model.image_size, model.image_size}, .min_crop = data.min_crop, .decoding = decoding_of(data)};
  return [options, seed](EncodedImage& image, const SampleRequest& sample) -> Views {
    Random random(seed, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
    const TokenizerView view = tokenizer_view(image, options, random, sample.output);
    return {view.image_CHW, torch::scalar_tensor(view.mirrored, torch::kBool)};
  };
}

// The first codes are k-means' of the whole step, of which a forward pass may see a part.
void VqkdTask::begin_step(const std::vector<Batch>& batches, const std::vector<StepPart>& parts) {
  if (parts.size() == 1 || !tokenizer_->quantizer()->needs_start()) return;
  std::vector<torch::Tensor> images;
  for (const Batch& batch : batches) images.push_back(on_device(batch.views[0], device_));
  tokenizer_->stage_start(images, parts);
}

StepLoss VqkdTask::loss(const Batch& batch, const StepPart& part) {
  const auto images_BCHW = on_device(batch.views[0], device_);
  const auto target_BNF = targets_.of(images_BCHW, batch.indices_B, batch.views[1]);
  const VqkdLoss loss = tokenizer_->forward(images_BCHW, target_BNF, part);
  return {loss.total, {{"reconstruction_loss", loss.reconstruction}, {"commitment_loss", loss.commitment}}};
}

void VqkdTask::begin_epoch() {
  tokenizer_->quantizer()->reset_usage();
  warned_ = false;
}

void VqkdTask::step_taken() {
  const auto before_K = tokenizer_->quantizer()->counts().clone();
  tokenizer_->quantizer()->update();
  const auto added_K = tokenizer_->quantizer()->counts() - before_K.to(device_);
  recent_counts_K_ = recent_counts_K_.defined() ? recent_counts_K_ + added_K : added_K;
  if (++recent_steps_ < kLookEvery) return;
  if (distributed_.leads()) warn_of_collapse();
  recent_counts_K_ = torch::Tensor();
  recent_steps_ = 0;
}

// Long before an epoch's end, as early as so many vectors say something. Codes that are used now and then do not make a
// codebook: perplexity tells.
void VqkdTask::warn_of_collapse() {
  const CodeUsage usage = code_usage(recent_counts_K_);
  const int64_t codes = recent_counts_K_.size(0), vectors = recent_counts_K_.sum().item<int64_t>();
  if (warned_ || vectors < kLeastVectors * codes || usage.perplexity >= kAlarmShare * static_cast<double>(codes))
    return;
  log().warn(
      "the codebook collapses: {} steps used {:.1f}% of {} codes, with a perplexity of {:.1f}; stop and start anew "
      "with "
      "--revive-threshold 0.1 and a smaller --revive-every, or a smaller --lr",
      kLookEvery, usage.percent, codes, usage.perplexity);
  warned_ = true;
}

nlohmann::ordered_json VqkdTask::end_epoch() { return figures("", code_usage(tokenizer_->quantizer()->counts())); }

nlohmann::ordered_json VqkdTask::validate() {
  if (validation_ == nullptr) return nlohmann::ordered_json::object();
  tokenizer_->eval();
  tokenizer_->quantizer()->reset_usage();
  validate_on(*validation_, [&](const Batch& batch) { tokenizer_->codes(on_device(batch.views[0], device_)); });
  // A copy on the device also where this rank had no image.
  auto counts_K = tokenizer_->quantizer()->counts().to(device_, torch::kInt64, /*non_blocking=*/false, /*copy=*/true);
  distributed_.sum(counts_K);
  auto line = figures("val_", code_usage(counts_K));
  tokenizer_->train();
  return line;
}

std::vector<Picture> VqkdTask::pictures(const Batch& batch) {
  const torch::NoGradGuard no_grad;
  const int64_t shown = std::min(kShownImages, batch.indices_B.size(0));
  const auto first = [shown](const torch::Tensor& all_B) { return all_B.narrow(0, 0, shown); };
  const auto images_BCHW = on_device(first(batch.views[0]), device_);
  const auto target_BNF = targets_.of(images_BCHW, first(batch.indices_B), first(batch.views[1]));
  const int64_t patch = tokenizer_->options().encoder.patch_size;
  const Grid grid{images_BCHW.size(2) / patch, images_BCHW.size(3) / patch};
  tokenizer_->eval();
  const auto predicted_BNF = tokenizer_->decode(tokenizer_->encode(images_BCHW).codes_BND, grid);
  tokenizer_->quantizer()->reset_usage();  // eval()'s own
  tokenizer_->train();
  return {{"reconstruction", feature_picture(images_BCHW, target_BNF, predicted_BNF, grid)}};
}

std::vector<std::pair<std::string, torch::Tensor>> VqkdTask::histograms() {
  return {{"codebook", log_uses(tokenizer_->quantizer()->counts())}};
}

}  // namespace beit

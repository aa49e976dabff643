#include "train/decode.h"

#include <algorithm>

#include "core/full_precision.h"
#include "core/image_quality.h"
#include "train/evaluation.h"
#include "train/loop.h"
#include "viz/tiles.h"

namespace beit {

StepLoss DecodeTask::loss(const Batch& batch, const StepPart& /*part*/) {  // nothing is drawn
  const auto images_BCHW = on_device(batch.views[0], device_);
  torch::Tensor codes_BN;
  {
    const FullPrecision exact;  // as when images are tokenized
    codes_BN = tokenizer_->codes(images_BCHW);
  }
  const PixelLoss loss = decoder_->loss(codes_BN, images_BCHW);
  return {loss.total, {{"absolute_difference", loss.absolute}, {"psnr", loss.psnr}}};
}

nlohmann::ordered_json DecodeTask::validate() {
  if (validation_ == nullptr) return nlohmann::ordered_json::object();
  decoder_->eval();
  auto sums = torch::zeros({5}, torch::kFloat64);  // as of ImageQuality
  validate_on(*validation_, [&](const Batch& batch) {
    const auto images_BCHW = on_device(batch.views[0], device_);
    sums += image_quality(decoder_->reconstruct(tokenizer_->codes(images_BCHW)), images_BCHW).sums();
  });
  decoder_->train();
  distributed_.sum(sums);
  const MeanQuality mean = mean_quality(sums);
  return {{"val_loss", mean.squared},
          {"val_absolute_difference", mean.absolute},
          {"val_psnr", mean.psnr},
          {"val_ssim", mean.ssim}};
}

std::vector<Picture> DecodeTask::pictures(const Batch& batch) {
  const int64_t shown = std::min(kShownImages, batch.indices_B.size(0));
  const auto images_BCHW = on_device(batch.views[0].narrow(0, 0, shown), device_);
  decoder_->eval();
  const auto decoded_BCHW = decoder_->reconstruct(tokenizer_->codes(images_BCHW));
  decoder_->train();
  return {{"decoded", side_by_side({images_BCHW, decoded_BCHW})}};
}

}  // namespace beit

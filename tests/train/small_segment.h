// A small segmentation, in a file as `beit segment` writes it, and on made-up images in steps as of small_tasks.h.
// Shape letters: B images of the batch, H and W = 32 pixels.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <utility>

#include "core/segmenter.h"
#include "tests/train/small_models.h"
#include "tests/train/small_tasks.h"
#include "train/task.h"

namespace beit {

inline constexpr int64_t kSmallSegments = 3;  // classes

inline ViTOptions small_segmenter_backbone(double drop_path = 0) {
  return {.grid = {4, 4},
          .patch_size = 8,
          .width = 16,
          .depth = 2,
          .heads = 2,
          .drop_path = drop_path,
          .layer_scale = 0.1,
          .absolute_position = false,
          .relative_position = RelPos::kBlock};
}

/// Batch norm's statistics are those of made-up images.
inline Segmenter write_small_segmenter(const std::filesystem::path& path) {
  torch::manual_seed(9);
  ModelOptions model = kSmallModel;
  SegmenterChoice choice{.channels = 8, .auxiliary_channels = 4};
  Segmenter segmenter(segmenter_options(small_segmenter_backbone(), choice, kSmallSegments));
  segmenter->train();
  for (int i = 0; i < 20; ++i) {
    segmenter->forward(torch::randn({4, 3, 32, 32}));
    segmenter->update_statistics();
  }
  auto metadata = config_metadata("segment", join({describe(model), describe(choice)}));
  metadata.insert(class_metadata({"sky", "road", "car"}));
  write_safetensors(path, state_dict(*segmenter), metadata);
  segmenter->eval();
  return segmenter;
}

/// Of which batch norm takes statistics over the ranks.
class SmallSegment : public TrainingTask {
 public:
  SmallSegment(torch::ScalarType type, const Ranks& ranks) : type_(type) {
    torch::manual_seed(23);
    model_ = Segmenter(segmenter_options(small_segmenter_backbone(/*drop_path=*/0.2),
                                         {.channels = 8, .auxiliary_channels = 4}, kSmallSegments),
                       ranks);
    model_->to(type);
  }
  torch::nn::Module& model() override { return *model_; }
  StepLoss loss(const Batch& batch, const StepPart& part) override {
    const auto loss = segmentation_loss(model_->forward(batch.views[0], part), batch.views[1], 0.4);
    return {loss.total, {{"accuracy", loss.accuracy}}};
  }
  void step_taken() override { model_->update_statistics(); }
  void step_refused() override { model_->discard_statistics(); }
  nlohmann::ordered_json validate() override { return {}; }
  Batch batch(int64_t step, int64_t rank, int64_t ranks) const {
    auto generator = generator_of(step);
    const auto images = torch::rand({kStepImages, 3, 32, 32}, generator);
    const auto labels = torch::randint(kSmallSegments, {kStepImages, 32, 32}, generator, torch::kUInt8);
    const auto indices_B = rank_rows(torch::arange(kStepImages), rank, ranks, type_);
    return {{rank_rows(images, rank, ranks, type_), rank_rows(labels, rank, ranks, type_)}, indices_B, indices_B};
  }
  Segmenter network() { return model_; }

 private:
  torch::ScalarType type_;
  Segmenter model_ = nullptr;
};

}  // namespace beit

// Shape letters: B images, N patches, M masked patches of the batch, F width of the teacher's feature.
#include "bench/cases.h"

#include <torch/torch.h>

#include "base/error.h"
#include "base/random.h"
#include "core/mim.h"
#include "core/teacher_clip.h"
#include "core/tokenizer.h"
#include "data/loader.h"
#include "data/mask.h"
#include "data/views.h"
#include "io/weights.h"
#include "train/optimizer.h"

namespace beit {
namespace {

constexpr double kLr = 1e-4, kClipGrad = 3.0;

Tokenizer base_tokenizer() { return Tokenizer(TokenizerOptions{}); }

MimOptions base_mim() {
  MimOptions options;
  options.vit.layer_scale = 0.1;
  options.vit.absolute_position = false;
  options.vit.relative_position = RelPos::kShared;
  return options;
}

torch::Tensor random_masks(int64_t images, const Grid& grid, int64_t masked) {
  std::vector<torch::Tensor> masks_N;
  for (int64_t i = 0; i < images; ++i) {
    Random random(/*seed=*/0, /*epoch=*/0, static_cast<uint64_t>(i), Purpose::kMask);
    masks_N.push_back(block_mask(grid, {.masked = masked}, random));
  }
  return torch::stack(masks_N);
}

/// Backward pass, clipping and the optimizer's step.
void descend(AdamW& optimizer, const torch::Tensor& loss) {
  optimizer.zero_grad();
  loss.backward();
  optimizer.step(kLr, std::min(1.0, kClipGrad / (optimizer.grad_norm() + 1e-6)));
}

Step vqkd(const CaseOptions& options) {
  const Grid grid;
  const std::shared_ptr<Teacher> teacher = make_teacher({.kind = "clip"}, grid, state_dict(*ClipVisual(ClipOptions{})));
  Tokenizer model = base_tokenizer();
  model->train();
  const auto optimizer = std::make_shared<AdamW>(*model, AdamWOptions{});
  const auto images_BCHW = torch::rand({options.batch_size, 3, 224, 224});
  return [=]() mutable {
    const VqkdLoss loss = model->forward(images_BCHW, teacher->target(images_BCHW));
    descend(*optimizer, loss.total);
    model->quantizer()->update();
  };
}

Step mim(const CaseOptions& options) {
  Tokenizer tokenizer = base_tokenizer();
  tokenizer->eval();
  MaskedImageModel model(base_mim());
  model->train();
  const auto optimizer = std::make_shared<AdamW>(*model, AdamWOptions{});
  const auto images_BCHW = torch::rand({options.batch_size, 3, 224, 224});
  const auto mask_BN = random_masks(options.batch_size, Grid{}, /*masked=*/75);
  return [=]() mutable {
    const auto targets_M = tokenizer->masked_codes(images_BCHW, mask_BN);
    descend(*optimizer, model->loss(images_BCHW, mask_BN, targets_M).total);
  };
}

Step tokenize(const CaseOptions& options) {
  Tokenizer tokenizer = base_tokenizer();
  tokenizer->eval();
  const auto images_BCHW = torch::rand({options.batch_size, 3, 224, 224});
  return [=]() mutable { tokenizer->codes(images_BCHW); };
}

Step small(const CaseOptions& options) {
  MimOptions shape = base_mim();
  shape.vit.grid = {.rows = 8, .columns = 8};
  shape.vit.patch_size = 4;
  shape.vit.width = 128;
  shape.vit.depth = 6;
  shape.vit.heads = 4;
  shape.codes = 512;
  shape.early_layers = 4;
  MaskedImageModel model(shape);
  model->train();
  const auto optimizer = std::make_shared<AdamW>(*model, AdamWOptions{});
  const auto images_BCHW = torch::rand({options.batch_size, 3, 32, 32});
  const auto mask_BN = random_masks(options.batch_size, shape.vit.grid, /*masked=*/26);
  const auto targets_M = torch::randint(shape.codes, {26 * options.batch_size}, torch::kInt64);
  return [=]() mutable { descend(*optimizer, model->loss(images_BCHW, mask_BN, targets_M).total); };
}

Step open(const CaseOptions& options) {
  require(!options.weights.empty(), "open: expected weights, got none; set --weights FILE");
  MaskedImageModel model(base_mim());
  return [=]() mutable { load_state_dict_strict(*model, read_weights(options.weights).tensors, options.weights); };
}

/// The loader as pre-training uses it, which works one batch ahead.
Step load(const CaseOptions& options, Decoding decoding) {
  require(!options.images.empty(), "load: expected images, got none; set --images FOLDER|TAR");
  const std::vector<std::filesystem::path> sources{options.images};
  const auto dataset = std::make_shared<const Dataset>(Dataset::open(sources));
  const ImageSize size{options.image_size, options.image_size};
  const PretrainingViewOptions views{.student_size = size, .tokenizer_size = size, .decoding = decoding};
  const auto transform = [views](EncodedImage& image, const SampleRequest& sample) -> Views {
    Random random(/*seed=*/0, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
    const auto pair = pretraining_views(image, views, random, sample.output);
    return {pair.student_CHW, pair.tokenizer_CHW};
  };
  const auto loader = std::make_shared<Loader>(
      *dataset, transform,
      LoaderOptions{.batch_size = options.batch_size, .workers = options.workers, .queued_batches = 1});
  return [dataset, loader, counters = options.counters, epoch = int64_t{-1}, before = StageTimes{}]() mutable {
    std::optional<Batch> batch = epoch < 0 ? std::nullopt : loader->next();
    if (!batch) {
      loader->start(++epoch);
      batch = loader->next();
    }
    const StageTimes now = loader->times();
    for (const auto& [stage, us] : now.us_per_image(before)) (*counters)[fmt::format("{}_us", stage)] = us;
    before = now;
  };
}

Step load_fast(const CaseOptions& options) { return load(options, Decoding::kFast); }
Step load_exact(const CaseOptions& options) { return load(options, Decoding::kExact); }

}  // namespace

std::vector<Case> all_cases() {
  return {{"vqkd", vqkd}, {"mim", mim},        {"tokenize", tokenize},    {"small", small},
          {"open", open}, {"load", load_fast}, {"load_exact", load_exact}};
}

}  // namespace beit

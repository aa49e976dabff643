// Shape letters: B images, N patches, D code width, M masked patches of the batch.
#include "cli/bench_cases.h"

#include <torch/torch.h>

#include <memory>

#include "base/error.h"
#include "base/random.h"
#include "core/teacher_clip.h"
#include "data/mask.h"
#include "io/weights.h"
#include "train/finetune.h"
#include "train/models.h"
#include "train/pretrain.h"
#include "train/step.h"

namespace beit {
namespace {

constexpr double kLr = 1e-4, kClipGrad = 3.0;
constexpr int64_t kPatches = 196, kClasses = 1000;

torch::Tensor random_images(int64_t images, int64_t size, const torch::Device& device) {
  return torch::rand({images, 3, size, size}).to(device);
}

torch::Tensor random_masks(int64_t images, const Grid& grid, int64_t masked) {
  std::vector<torch::Tensor> masks_N;
  for (int64_t i = 0; i < images; ++i) {
    Random random(/*seed=*/0, /*epoch=*/0, static_cast<uint64_t>(i), Purpose::kMask);
    masks_N.push_back(block_mask(grid, {.masked = masked}, random));
  }
  return torch::stack(masks_N);
}

Batch batch_of(Views views, int64_t classes = 1) {
  const int64_t images = views[0].size(0);
  return {.views = std::move(views),
          .indices_B = torch::arange(images),
          .labels_B = torch::randint(classes, {images}, torch::kInt64)};
}

template <class Network>
Network on_device(Network network, const CaseOptions& options) {
  network->to(options.device);
  return network;
}

/// The codebook as the published code has it, from random codes: k-means would be timed in no step but the first.
Tokenizer tokenizer_of(const CaseOptions& options) {
  CodebookOptions codebook = options.codebook;
  codebook.kmeans_start = false;
  codebook.revive_threshold = 0;
  ModelOptions model = options.model;
  model.drop_path = 0;
  return on_device(Tokenizer(tokenizer_options(model, codebook, /*target_width=*/512)), options);
}

/// A training step on the same batch at every call.
class Training {
 public:
  Training(Distributed& alone, std::shared_ptr<TrainingTask> task, Batch batch, TrainOptions options)
      : task_(std::move(task)),
        batch_(std::move(batch)),
        optimizer_(task_->model(), AdamWOptions{.layers = task_->layer_decay()}),
        step_(*task_, optimizer_, with_clipping(std::move(options), batch_), alone) {}

  void operator()() {
    step_.take(
        batch_, steps_++, kLr, /*give_up=*/[] {}, /*names_of=*/[] { return std::string("random ones"); });
  }

 private:
  static TrainOptions with_clipping(TrainOptions options, const Batch& batch) {
    options.batch_size = batch.indices_B.size(0);
    options.clip_grad = kClipGrad;
    return options;
  }

  std::shared_ptr<TrainingTask> task_;
  Batch batch_;
  AdamW optimizer_;
  TrainingStep step_;
  int64_t steps_ = 0;
};

/// `work` owns the networks, and the task that refers to them.
template <class Work>
Step training(std::shared_ptr<Work> work, Batch batch, const CaseOptions& options) {
  const auto steps = std::make_shared<Training>(work->alone, std::shared_ptr<TrainingTask>(work, &work->task),
                                                std::move(batch), options.train);
  return [work, steps] { (*steps)(); };
}

/// A task of which only the losses are wanted.
class LossTask : public TrainingTask {
 public:
  nlohmann::ordered_json validate() override { return {}; }
};

Step mim(const CaseOptions& options) {
  MimChoice choice;
  resolve(choice, options.model);
  struct Work {
    Tokenizer tokenizer;
    MaskedImageModel model;
    Distributed alone = {};
    torch::Device device;
    PretrainTask task{model, tokenizer, /*validation=*/nullptr, device, alone};
  };
  MaskedImageModel model(mim_options(options.model, choice, options.codebook.codes));
  const auto work = std::shared_ptr<Work>(
      new Work{.tokenizer = tokenizer_of(options), .model = on_device(model, options), .device = options.device});
  work->tokenizer->eval();
  const auto images_BCHW = random_images(options.batch, options.model.image_size, options.device);
  const auto mask_BN = random_masks(options.batch, grid_of(options.model), choice.masked_patches);
  return training(work, batch_of({images_BCHW, images_BCHW, mask_BN}), options);
}

Step vqkd(const CaseOptions& options) {
  struct Task : LossTask {
    Task(Tokenizer of, std::shared_ptr<Teacher> from) : tokenizer(std::move(of)), teacher(std::move(from)) {}
    torch::nn::Module& model() override { return *tokenizer; }
    StepLoss loss(const Batch& batch, const StepPart& part) override {
      const auto& images_BCHW = batch.views[0];
      return {tokenizer->forward(images_BCHW, teacher->target(images_BCHW), part).total, {}};
    }
    void step_taken() override { tokenizer->quantizer()->update(); }
    Tokenizer tokenizer;
    std::shared_ptr<Teacher> teacher;
  };
  struct Work {
    Task task;
    Distributed alone = {};
  };
  const Grid grid = grid_of(options.model);
  const auto teacher = make_teacher({.kind = "clip"}, grid, state_dict(*ClipVisual(ClipOptions{.grid = grid})));
  const auto work = std::shared_ptr<Work>(new Work{Task(tokenizer_of(options), on_device(teacher, options))});
  return training(work, batch_of({random_images(options.batch, options.model.image_size, options.device)}), options);
}

Step classify(const CaseOptions& options) {
  struct Work {
    Classifier model;
    torch::Device device;
    Distributed alone = {};
    FinetuneTask task{model,
                      {.mixup = 0, .cutmix = 0, .label_smoothing = 0},
                      /*layer_decay=*/1.0,
                      /*validation=*/nullptr,
                      torch::Tensor(),
                      device,
                      alone};
  };
  ViTOptions vit = mim_options(options.model, MimChoice{}, /*codes=*/1).vit;
  vit.relative_position = RelPos::kBlock;
  const Classifier model(ClassifierOptions{.vit = vit, .classes = kClasses});
  const auto work = std::shared_ptr<Work>(new Work{.model = on_device(model, options), .device = options.device});
  return training(work, batch_of({random_images(options.batch, options.model.image_size, options.device)}, kClasses),
                  options);
}

Step small(const CaseOptions& options) {
  struct Task : LossTask {
    Task(MaskedImageModel of, torch::Tensor codes_M) : network(std::move(of)), targets_M(std::move(codes_M)) {}
    torch::nn::Module& model() override { return *network; }
    StepLoss loss(const Batch& batch, const StepPart& part) override {
      return {network->loss(batch.views[0], batch.views[1], targets_M, part).total, {}};
    }
    MaskedImageModel network;
    torch::Tensor targets_M;
  };
  struct Work {
    Task task;
    Distributed alone = {};
  };
  constexpr int64_t kCodes = 512, kMasked = 26;
  ModelOptions model{.width = 128, .depth = 6, .heads = 4, .image_size = 32, .patch_size = 4};
  resolve(model);
  MimChoice choice{.masked_patches = kMasked, .early_layers = 4};
  resolve(choice, model);
  const auto targets_M = torch::randint(kCodes, {kMasked * options.batch}, torch::kInt64).to(options.device);
  const MaskedImageModel network(mim_options(model, choice, kCodes));
  const auto work = std::shared_ptr<Work>(new Work{Task(on_device(network, options), targets_M)});
  const auto mask_BN = random_masks(options.batch, grid_of(model), kMasked);
  return training(work, batch_of({random_images(options.batch, model.image_size, options.device), mask_BN}), options);
}

Step tokenize(const CaseOptions& options) {
  Tokenizer tokenizer = tokenizer_of(options);
  tokenizer->eval();
  const auto reduced = reduced_type(options.train.precision, options.device);
  const auto images_BCHW = random_images(options.batch, options.model.image_size, options.device);
  return [=, device = options.device]() mutable {
    const torch::NoGradGuard no_grad;
    const Autocast autocast(device, reduced);
    tokenizer->codes(images_BCHW);
  };
}

Step quantizer(const CaseOptions& options) {
  Quantizer quantizer(QuantizerOptions{.codes = options.codebook.codes, .kmeans_start = false});
  quantizer->train();
  quantizer->to(options.device);
  const auto features_BND =
      torch::randn({options.batch, kPatches, QuantizerOptions{}.width}).to(options.device).requires_grad_();
  return [=]() mutable {
    const Quantized out = quantizer->forward(features_BND);
    (out.codes_BND.sum() + out.loss).backward();
    quantizer->update();
  };
}

Step open(const CaseOptions& options) {
  require(!options.weights.empty(), "bench: expected weights to open, got none; set --weights FILE");
  MimChoice choice;
  resolve(choice, options.model);
  MaskedImageModel model(mim_options(options.model, choice, options.codebook.codes));
  return
      [model, file = options.weights]() mutable { load_state_dict_strict(*model, read_weights(file).tensors, file); };
}

}  // namespace

const std::vector<BenchCase>& bench_cases() {
  static const std::vector<BenchCase> cases{{"mim", {"batch", "image-size", "codes", "drop-path", "precision"}, mim},
                                            {"vqkd", {"batch", "image-size", "codes", "precision"}, vqkd},
                                            {"classify", {"batch", "image-size", "drop-path", "precision"}, classify},
                                            {"small", {"batch", "precision"}, small},
                                            {"tokenize", {"batch", "image-size", "codes", "precision"}, tokenize},
                                            {"quantizer", {"batch", "codes"}, quantizer},
                                            {"open", {"weights"}, open}};
  return cases;
}

}  // namespace beit

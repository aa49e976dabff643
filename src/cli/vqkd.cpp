// `beit vqkd`: trains the visual tokenizer by vector-quantized knowledge distillation.
#include "train/vqkd.h"

#include <functional>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "cli/training.h"
#include "train/evaluation.h"
#include "train/loop.h"
#include "train/models.h"

namespace beit {
namespace {

struct Vqkd {
  ModelOptions model;
  CodebookOptions codebook;
  TeacherChoice teacher;
  DataOptions data{.min_crop = 0.08};
  TrainOptions train{.epochs = 100,
                     .batch_size = 512,
                     .lr = 5e-5,
                     .min_lr = 1e-5,
                     .warmup_epochs = 10,
                     .weight_decay = 1e-4,
                     .beta2 = 0.99};
  RankOptions ranks;
  RuntimeOptions runtime;

  OptionList options() {
    OptionList training = describe(train);
    std::ranges::find(training, "lr", &Option::name)->help =
        "highest learning rate, for 128 images a step: times --batch-size / 128";
    return join({describe(model), describe(codebook), describe(teacher),
                 pick(describe(data), {"data", "data-weight", "val-data", "shuffle", "shuffle-window", "workers",
                                       "min-crop", "decode", "max-damaged", "apply-orientation"}),
                 training, describe(ranks), describe(runtime)});
  }

  void run() {
    on_ranks(ranks, runtime, train,
             [&](Distributed& distributed, const torch::Device& device, const auto& should_stop) {
               train_on(distributed, device, should_stop);
             });
  }

  void train_on(Distributed& distributed, const torch::Device& device, const std::function<bool()>& should_stop) {
    resolve(model);
    require(teacher.teacher_cache.empty() || data.min_crop >= 1,
            "vqkd: expected --min-crop 1 with --teacher-cache, which holds features of whole images, got {}",
            data.min_crop);
    require(
        distributed.ranks() == 1 || teacher.teacher_cache.empty() || std::filesystem::exists(teacher.teacher_cache),
        "{}: expected a --teacher-cache that is there already with {} ranks, got none; a run of one rank and --steps "
        "1 makes it",
        teacher.teacher_cache, distributed.ranks());
    const Dataset images = open_images(data.data, "data");
    const auto seed = static_cast<uint64_t>(train.seed);
    Loader loader(
        images, vqkd_transform(model, data, seed),
        training_loading(data, train.batch_size, seed, device.is_cuda(), distributed.rank(), distributed.ranks()));
    // The learning rate is that of 128 images a step.
    const Plan steps = plan(train, loader.batches(), train.lr * static_cast<double>(train.batch_size) / 128.0);
    Run folder(train.output, config_toml("vqkd", options()),
               run_metadata("vqkd", options(), images, distributed.ranks(), train.accumulate), distributed);
    const auto state = folder.resume_state(train.resume);
    if (finished(folder, state, steps)) return;

    const std::optional<Dataset> val_images =
        data.val_data.empty() ? std::nullopt : std::optional(open_images(data.val_data, "val-data"));
    std::optional<Loader> validation;
    if (val_images) {
      validation.emplace(
          *val_images, evaluation_transform(model),
          evaluation_loading(data, train.batch_size, OnDamage::kFail, distributed.rank(), distributed.ranks()));
    }

    Targets targets(teacher, model, images, data, device);
    torch::manual_seed(Random(seed, 0, 0, Purpose::kWeights).bits());
    Tokenizer tokenizer(tokenizer_options(model, codebook, targets.width()), distributed.as_ranks());
    tokenizer->to(device);
    tokenizer->set_recompute(train.recompute);
    log().info("{} images, {} steps an epoch; {} codes; teacher {}, {} wide", images.size(), steps.steps_per_epoch,
               codebook.codes, teacher.teacher, targets.width());

    VqkdTask task(tokenizer, targets, validation ? &*validation : nullptr, device, distributed);
    beit::train(task, loader, steps, train, ranks, folder, distributed, state, should_stop);
  }
};

}  // namespace

Command vqkd_command() { return make_command<Vqkd>("vqkd", "Train a visual tokenizer (VQ-KD)"); }

}  // namespace beit

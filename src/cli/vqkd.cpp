// `beit vqkd`: trains the visual tokenizer by vector-quantized knowledge distillation.
#include "train/vqkd.h"

#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/interrupt.h"
#include "cli/run_config.h"
#include "cli/runtime.h"
#include "train/evaluation.h"
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
  RuntimeOptions runtime;

  OptionList options() {
    OptionList training = describe(train);
    std::ranges::find(training, "lr", &Option::name)->help =
        "highest learning rate, for 128 images a step: times --batch-size / 128";
    return join({describe(model), describe(codebook), describe(teacher),
                 pick(describe(data), {"data", "data-weight", "val-data", "shuffle", "shuffle-window", "workers",
                                       "min-crop", "decode", "max-damaged", "apply-orientation"}),
                 training, describe(runtime)});
  }

  void run() {
    const torch::Device device = apply(runtime);
    resolve(model);
    require(teacher.teacher_cache.empty() || data.min_crop >= 1,
            "vqkd: expected --min-crop 1 with --teacher-cache, which holds features of whole images, got {}",
            data.min_crop);
    const Dataset images = open_images(data.data, "data");
    const auto seed = static_cast<uint64_t>(train.seed);
    Loader loader(images, vqkd_transform(model, data, seed),
                  training_loading(data, train.batch_size, seed, device.is_cuda()));
    // The learning rate is that of 128 images a step.
    const Plan steps = plan(train, loader.batches(), train.lr * static_cast<double>(train.batch_size) / 128.0);
    Run folder(train.output, config_toml("vqkd", options()), run_metadata("vqkd", options()));
    const auto state = folder.resume_state(train.resume);
    if (finished(folder, state, steps)) return;

    const std::optional<Dataset> val_images =
        data.val_data.empty() ? std::nullopt : std::optional(open_images(data.val_data, "val-data"));
    std::optional<Loader> validation;
    if (val_images)
      validation.emplace(*val_images, evaluation_transform(model), evaluation_loading(data, train.batch_size));

    Targets targets(teacher, model, images, data, device);
    torch::manual_seed(Random(seed, 0, 0, Purpose::kWeights).bits());
    Tokenizer tokenizer(tokenizer_options(model, codebook, targets.width()));
    tokenizer->to(device);
    log().info("{} images, {} steps an epoch; {} codes; teacher {}, {} wide", images.size(), steps.steps_per_epoch,
               codebook.codes, teacher.teacher, targets.width());

    VqkdTask task(tokenizer, targets, validation ? &*validation : nullptr, device);
    beit::train(task, loader, steps, train, folder, state, stop_on_signal());
  }
};

}  // namespace

Command vqkd_command() { return make_command<Vqkd>("vqkd", "Train a visual tokenizer (VQ-KD)"); }

}  // namespace beit

// `beit pretrain`: trains a backbone by masked image modelling on a tokenizer's codes.
#include "train/pretrain.h"

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

struct Pretrain {
  ModelOptions model;
  MimChoice choice;
  DataOptions data{.min_crop = 0.2, .color_jitter = 0.4};
  TrainOptions train{.epochs = 300,
                     .batch_size = 2048,
                     .lr = 1.5e-3,
                     .min_lr = 1e-5,
                     .warmup_epochs = 10,
                     .weight_decay = 0.05,
                     .beta2 = 0.98,
                     .clip_grad = 3.0};
  RankOptions ranks;
  RuntimeOptions runtime;

  OptionList options() {
    return join(
        {describe(model), describe(choice), describe(data), describe(train), describe(ranks), describe(runtime)});
  }

  void run() {
    on_ranks(ranks, runtime, train,
             [&](Distributed& distributed, const torch::Device& device, const auto& should_stop) {
               train_on(distributed, device, should_stop);
             });
  }

  void train_on(Distributed& distributed, const torch::Device& device, const std::function<bool()>& should_stop) {
    resolve(model);
    resolve(choice, model);
    require(!choice.tokenizer.empty(), "pretrain: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    require_apart(train.output, choice.tokenizer, {});
    LoadedTokenizer loaded = load_tokenizer(choice.tokenizer, {.image_size = choice.tokenizer_image_size});
    choice.tokenizer_image_size = loaded.options.image_size;
    check_grids(loaded.options);

    const Dataset images = open_images(data.data, "data");
    const auto seed = static_cast<uint64_t>(train.seed);
    Loader loader(
        images, pretrain_transform(model, choice, data, seed),
        training_loading(data, train.batch_size, seed, device.is_cuda(), distributed.rank(), distributed.ranks()));
    const Plan steps = plan(train, loader.batches(), train.lr);
    auto metadata = run_metadata("pretrain", options(), images, distributed.ranks(), train.accumulate);
    metadata["tokenizer"] = tokenizer_identity(loaded.model);
    Run folder(train.output, config_toml("pretrain", options()), metadata, distributed);
    const auto state = folder.resume_state(train.resume);
    if (finished(folder, state, steps)) return;

    const std::optional<Dataset> val_images =
        data.val_data.empty() ? std::nullopt : std::optional(open_images(data.val_data, "val-data"));
    std::optional<Loader> validation;
    if (val_images) {
      // Whole images, half of them mirrored, each with one mask; both always the same.
      const DataOptions plain{.min_crop = 1, .color_jitter = 0};
      validation.emplace(
          *val_images, pretrain_transform(model, choice, plain, /*seed=*/0),
          evaluation_loading(data, train.batch_size, OnDamage::kFail, distributed.rank(), distributed.ranks()));
    }

    torch::manual_seed(Random(seed, 0, 0, Purpose::kWeights).bits());
    MaskedImageModel network(mim_options(model, choice, loaded.codebook.codes));
    network->to(device);
    network->set_recompute(train.recompute);
    loaded.model->to(device);
    log().info("{} images, {} steps an epoch; {} of {} patches masked; {} codes", images.size(), steps.steps_per_epoch,
               choice.masked_patches, grid_of(model).patches(), loaded.codebook.codes);

    PretrainTask task(network, loaded.model, validation ? &*validation : nullptr, device, distributed);
    beit::train(task, loader, steps, train, ranks, folder, distributed, state, should_stop);
  }

  void check_grids(const ModelOptions& tokenizer) const {
    const Grid own = grid_of(model), its = grid_of(tokenizer);
    require(own == its,
            "pretrain: expected the tokenizer's grid of {}x{} patches, got {}x{} from images of {} in patches of {}; "
            "change --image-size, --patch-size or --tokenizer-image-size",
            its.rows, its.columns, own.rows, own.columns, model.image_size, model.patch_size);
  }
};

}  // namespace

Command pretrain_command() {
  return make_command<Pretrain>("pretrain", "Pre-train a backbone by masked image modelling");
}

}  // namespace beit

// `beit decode`: trains a pixel decoder, which shows what a tokenizer's codes keep of an image.
#include "train/decode.h"

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
#include "train/vqkd.h"

namespace beit {
namespace {

struct Decode {
  DecoderChoice choice;
  DataOptions data{.min_crop = 0.2};
  TrainOptions train{.epochs = 50,
                     .batch_size = 256,
                     .lr = 5e-4,
                     .min_lr = 1e-6,
                     .warmup_epochs = 2,
                     .weight_decay = 0.05,
                     .beta2 = 0.95,
                     .clip_grad = 1.0};
  RankOptions ranks;
  RuntimeOptions runtime;

  OptionList options() {
    return join({describe(choice),
                 pick(describe(data), {"data", "data-weight", "val-data", "shuffle", "shuffle-window", "workers",
                                       "min-crop", "decode", "max-damaged", "apply-orientation"}),
                 describe(train), describe(ranks), describe(runtime)});
  }

  void run() {
    on_ranks(ranks, runtime, train,
             [&](Distributed& distributed, const torch::Device& device, const auto& should_stop) {
               train_on(distributed, device, should_stop);
             });
  }

  void train_on(Distributed& distributed, const torch::Device& device, const std::function<bool()>& should_stop) {
    resolve(choice);
    require(!choice.tokenizer.empty(), "decode: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    require_apart(train.output, choice.tokenizer, {});
    LoadedTokenizer loaded = load_tokenizer(choice.tokenizer, {.image_size = choice.image_size});
    choice.image_size = loaded.options.image_size;
    const std::string identity = tokenizer_identity(loaded.model);

    const Dataset images = open_images(data.data, "data");
    const auto seed = static_cast<uint64_t>(train.seed);
    Loader loader(
        images, vqkd_transform(loaded.options, data, seed),
        training_loading(data, train.batch_size, seed, device.is_cuda(), distributed.rank(), distributed.ranks()));
    const Plan steps = plan(train, loader.batches(), train.lr);
    auto metadata = run_metadata("decode", options(), images, distributed.ranks(), train.accumulate);
    metadata["tokenizer"] = identity;
    Run folder(train.output, config_toml("decode", options()), metadata, distributed);
    const auto state = folder.resume_state(train.resume);
    if (finished(folder, state, steps)) return;

    const std::optional<Dataset> val_images =
        data.val_data.empty() ? std::nullopt : std::optional(open_images(data.val_data, "val-data"));
    std::optional<Loader> validation;
    if (val_images) {
      validation.emplace(*val_images, evaluation_transform(loaded.options),
                         evaluation_loading(data, train.batch_size / train.accumulate, OnDamage::kFail,
                                            distributed.rank(), distributed.ranks()));
    }

    torch::manual_seed(Random(seed, 0, 0, Purpose::kWeights).bits());
    PixelDecoder decoder(pixel_decoder_options(choice, loaded.options, loaded.codebook));
    decoder->set_codebook(loaded.model->quantizer()->codebook());
    decoder->to(device);
    decoder->set_recompute(train.recompute);
    loaded.model->to(device);
    log().info("{} images, {} steps an epoch; {}", images.size(), steps.steps_per_epoch, identity);

    DecodeTask task(decoder, loaded.model, validation ? &*validation : nullptr, device, distributed);
    beit::train(task, loader, steps, train, ranks, folder, distributed, state, should_stop);
  }
};

}  // namespace

Command decode_command() {
  return make_command<Decode>("decode", "Train a pixel decoder, which shows what a tokenizer's codes keep");
}

}  // namespace beit

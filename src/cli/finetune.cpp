// `beit finetune`: trains a classifier from a pre-trained backbone.
// Shape letters: V classes of the validation data.
#include "train/finetune.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "cli/training.h"
#include "train/backbone_start.h"
#include "train/evaluation.h"
#include "train/loop.h"

namespace beit {
namespace {

/// Which of `classes` each of the data's own is.
torch::Tensor numbers_of(const std::vector<std::string>& own, const std::vector<std::string>& classes) {
  std::vector<int64_t> numbers;
  for (const std::string& name : own) {
    const auto found = std::ranges::find(classes, name);
    require(found != classes.end(),
            "val-data: expected classes that --data has too, got '{}'; is '{}' meant? Its folder's name must be the "
            "same",
            name, nearest(name, classes));
    numbers.push_back(found - classes.begin());
  }
  return torch::tensor(numbers, torch::kInt64);
}

struct Finetune {
  ModelOptions model{.model = "", .image_size = 0, .drop_path = 0.2};
  StartOptions start{.layer_decay = 0.6};
  std::string pooling = "mean";
  MixOptions mix;
  AugmentOptions augment;
  DataOptions data{.min_crop = 0.08};
  TrainOptions train{.epochs = 100,
                     .batch_size = 1024,
                     .lr = 5e-4,
                     .min_lr = 1e-6,
                     .warmup_epochs = 20,
                     .weight_decay = 0.05,
                     .beta2 = 0.999};
  RankOptions ranks;
  RuntimeOptions runtime;

  OptionList options() {
    OptionList images = describe(data);
    std::erase_if(images, [](const Option& option) { return option.name == "color-jitter"; });
    return join({describe(start),
                 describe(model),
                 {{.name = "pooling",
                   .value = &pooling,
                   .help = "what the head sees: the mean of the patch tokens, or the CLS token",
                   .choices = {"mean", "cls"}}},
                 describe(mix),
                 describe(augment),
                 images,
                 describe(train),
                 describe(ranks),
                 describe(runtime)});
  }

  void run() {
    on_ranks(ranks, runtime, train,
             [&](Distributed& distributed, const torch::Device& device, const auto& should_stop) {
               train_on(distributed, device, should_stop);
             });
  }

  void train_on(Distributed& distributed, const torch::Device& device, const std::function<bool()>& should_stop) {
    if (!start.weights.empty()) require_apart(train.output, start.weights, {});
    const BackboneStart backbone = open_start(start, model);
    const Dataset images = open_classes(data.data, "data");
    const std::vector<std::string>& classes = images.classes();
    require_classes(images, "data");
    const auto seed = static_cast<uint64_t>(train.seed);
    Loader loader(
        images, finetune_transform(model, data, augment, seed),
        training_loading(data, train.batch_size, seed, device.is_cuda(), distributed.rank(), distributed.ranks()));
    const Plan steps = plan(train, loader.batches(), train.lr);
    std::optional<Dataset> val_images;
    std::optional<Loader> validation;
    torch::Tensor val_classes_V;
    if (!data.val_data.empty()) {
      val_images = open_classes(data.val_data, "val-data");
      val_classes_V = numbers_of(val_images->classes(), classes);
      validation.emplace(*val_images, evaluation_transform(model, kImagenetScale),
                         evaluation_loading(data, train.batch_size / train.accumulate, OnDamage::kFail,
                                            distributed.rank(), distributed.ranks()));
    }
    auto metadata = run_metadata("finetune", options(), images, distributed.ranks(), train.accumulate);
    metadata.insert(class_metadata(classes));
    Run folder(train.output, config_toml("finetune", options()), std::move(metadata), distributed);
    const auto state = folder.resume_state(train.resume);
    if (finished(folder, state, steps)) return;

    torch::manual_seed(Random(seed, 0, 0, Purpose::kWeights).bits());
    Classifier network(ClassifierOptions{.vit = backbone.vit,
                                         .classes = std::ssize(classes),
                                         .pooling = pooling == "cls" ? Pooling::kCls : Pooling::kMean});
    if (backbone.file && !state) start_from(network, *backbone.file, classes);
    network->to(device);
    network->set_recompute(train.recompute);
    warn_of_layer_decay(start);
    log().info("{} images of {} classes, {} steps an epoch", images.size(), classes.size(), steps.steps_per_epoch);

    FinetuneTask task(network, mix, start.layer_decay, validation ? &*validation : nullptr, val_classes_V, device,
                      distributed);
    beit::train(task, loader, steps, train, ranks, folder, distributed, state, should_stop);
  }
};

}  // namespace

Command finetune_command() {
  return make_command<Finetune>("finetune", "Train a classifier from a pre-trained backbone");
}

}  // namespace beit

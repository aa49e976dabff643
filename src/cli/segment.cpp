// `beit segment`: trains a semantic segmentation (UPerNet) on a backbone.
#include "train/segment.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/class_choice.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "cli/training.h"
#include "train/backbone_start.h"
#include "train/loop.h"
#include "train/models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// What training draws of an image.
struct Drawing {
  double min_scale = 0.5, max_scale = 2.0, max_class_share = 0.75;
  bool distortion = true;

  OptionList options() {
    constexpr Range kScale{.least = 0, .most = 16, .without_least = true};
    return {{.name = "min-scale",
             .value = &min_scale,
             .help = "smallest factor of --long-side and --short-side in training",
             .range = kScale},
            {.name = "max-scale", .value = &max_scale, .help = "largest", .range = kScale},
            {.name = "max-class-share",
             .value = &max_class_share,
             .help = "a crop of which one class takes more is drawn anew, up to ten times; 1: any crop will do",
             .range = {.least = 0, .most = 1, .without_least = true}},
            {.name = "distortion",
             .value = &distortion,
             .help = "change brightness, contrast, saturation and hue at random"}};
  }
};

struct Classes {
  int64_t count = 0;
  std::vector<std::string> names = {};
};

/// Of --classes: a number, or a file of names.
Classes read_classes(const std::string& classes) {
  require(!classes.empty(),
          "segment: expected the classes, got none; set --classes to their number or a file of their names");
  Classes found;
  if (std::ranges::all_of(classes, [](char letter) { return letter >= '0' && letter <= '9'; })) {
    set({.name = "classes", .value = &found.count, .help = "", .range = {.least = 1, .most = 255}}, {classes},
        "classes");
    return found;
  }
  found.names = read_class_names(classes);
  found.count = std::ssize(found.names);
  require(found.count >= 1 && found.count <= 255, "{}: expected names of 1 to 255 classes, one a line, got {}", classes,
          found.count);
  return found;
}

/// Images and their label maps.
struct Labelled {
  Labelled(const std::vector<std::string>& data, const std::vector<std::string>& folders, const LabelRules& rules,
           std::string_view data_flag, std::string_view labels_flag)
      : images(open_images(data, data_flag)),
        labels(images, places(data), checked(data, folders, data_flag, labels_flag), rules) {}

  static std::vector<fs::path> places(const std::vector<std::string>& paths) { return {paths.begin(), paths.end()}; }
  static std::vector<fs::path> checked(const std::vector<std::string>& data, const std::vector<std::string>& folders,
                                       std::string_view data_flag, std::string_view labels_flag) {
    require(folders.size() == data.size(),
            "{}: expected a folder of label maps for each --{}, got {} for {}; give --{} as often as --{}", labels_flag,
            data_flag, folders.size(), data.size(), labels_flag, data_flag);
    return places(folders);
  }

  Dataset images;
  LabelMaps labels;
};

struct Segment {
  std::vector<std::string> given;
  ModelOptions model{.model = "", .image_size = 512, .drop_path = 0.15};
  StartOptions start{.layer_decay = 0.75};
  SegmenterChoice choice;
  LabelOptions labels;
  WindowOptions windows;
  Drawing drawing;
  DataOptions data;
  TrainOptions train{.epochs = 0,
                     .steps = 160000,
                     .batch_size = 16,
                     .lr = 5e-5,
                     .min_lr = 0,
                     .lr_schedule = "linear",
                     .warmup_epochs = 0,
                     .warmup_steps = 1500,
                     .weight_decay = 0.05,
                     .beta2 = 0.999,
                     .checkpoint_every = 16000};
  RankOptions ranks;
  RuntimeOptions runtime;

  OptionList options() {
    OptionList training = describe(train);  // batch norm takes its statistics over the whole batch, not over parts
    std::erase_if(training, [](const Option& option) { return option.name == "accumulate"; });
    return join({describe(model), describe(start), describe(choice),
                 pick(describe(data), {"data", "val-data", "workers", "data-weight", "shuffle", "shuffle-window"}),
                 describe(labels), described_windows(), drawing.options(), training, describe(ranks),
                 describe(runtime)});
  }

  void run() {
    // Whoever counts in epochs means these, not the published steps.
    if (said("epochs") && !said("steps")) train.steps = 0;
    if (said("warmup-epochs") && !said("warmup-steps")) train.warmup_steps = 0;
    on_ranks(ranks, runtime, train,
             [&](Distributed& distributed, const torch::Device& device, const auto& should_stop) {
               train_on(distributed, device, should_stop);
             });
  }

  void train_on(Distributed& distributed, const torch::Device& device, const std::function<bool()>& should_stop) {
    if (!start.weights.empty()) require_apart(train.output, start.weights, {});
    const BackboneStart backbone = open_start(start, model);
    if (!said("stride")) windows.stride = model.image_size * 2 / 3;  // as published: 341 of 512
    check_windows(windows, model.image_size);
    const Classes classes = read_classes(labels.classes);
    if (choice.channels == 0) choice.channels = model.width;
    const LabelRules rules{
        .classes = classes.count, .reduce_zero_label = labels.reduce_zero_label, .ignore_label = labels.ignore_label};
    const Labelled set(data.data, labels.labels, rules, "data", "labels");
    std::optional<Labelled> val_set;
    std::optional<SegmentValidation> validation;
    if (!data.val_data.empty() || !labels.val_labels.empty()) {
      val_set.emplace(data.val_data, labels.val_labels, rules, "val-data", "val-labels");
      validation.emplace(val_set->images, val_set->labels, SegmentTesting{windows, data.workers});
    }
    require(drawing.min_scale <= drawing.max_scale,
            "segment: expected --min-scale of at most --max-scale, got {} and {}; exchange them", drawing.min_scale,
            drawing.max_scale);

    const auto seed = static_cast<uint64_t>(train.seed);
    LoaderOptions loading =
        training_loading(data, train.batch_size, seed, device.is_cuda(), distributed.rank(), distributed.ranks());
    loading.on_damage = OnDamage::kFail;  // nothing is ever trained on another label than was meant
    Loader loader(set.images, segment_transform(set.labels, view(), seed), loading);
    const Plan steps = plan(train, loader.batches(), train.lr);
    auto metadata = run_metadata("segment", options(), set.images, distributed.ranks(), train.accumulate);
    if (!classes.names.empty()) metadata.insert(class_metadata(classes.names));
    Run folder(train.output, config_toml("segment", options()), metadata, distributed);
    const auto state = folder.resume_state(train.resume);
    if (finished(folder, state, steps)) return;

    torch::manual_seed(Random(seed, 0, 0, Purpose::kWeights).bits());
    Segmenter network(segmenter_options(backbone.vit, choice, classes.count), distributed.as_ranks());
    if (backbone.file && !state) start_from(*network, "backbone.", *backbone.file);
    network->to(device);
    network->set_recompute(train.recompute);
    warn_of_layer_decay(start);
    if (labels.reduce_zero_label) {
      log().info("pixels of label 0 are of no class, label 1 is class 0{}",
                 classes.names.empty() ? "" : fmt::format(", {}", on_one_line(classes.names.front())));
    }
    log().info("{} images, {} steps an epoch; {} classes", set.images.size(), steps.steps_per_epoch, classes.count);

    SegmentTask task(network, choice.auxiliary_weight, {.rate = start.layer_decay, .depth = model.depth},
                     validation ? &*validation : nullptr, device, distributed);
    beit::train(task, loader, steps, train, ranks, folder, distributed, state, should_stop);
  }

  OptionList described_windows() {
    OptionList described = describe(windows);
    for (Option& option : described) {
      if (option.name == "stride") option.help += "; without it two thirds of --image-size";
    }
    return described;
  }

  bool said(const char* name) const { return std::ranges::find(given, name) != given.end(); }

  SegmentationViewOptions view() const {
    return {.limit = {windows.short_side, windows.long_side},
            .min_ratio = drawing.min_scale,
            .max_ratio = drawing.max_scale,
            .crop = {model.image_size, model.image_size},
            .max_class_share = drawing.max_class_share,
            .distortion = drawing.distortion};
  }
};

}  // namespace

Command segment_command() {
  return make_command<Segment>("segment", "Train a semantic segmentation (UPerNet) on a backbone");
}

}  // namespace beit

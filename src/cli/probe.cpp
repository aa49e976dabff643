// `beit probe`: what frozen features know of the classes.
// Shape letters: B images of a batch, M images of a data set, C channels, T tokens (CLS first), D and F widths.
#include "core/probe.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "core/metrics.h"
#include "core/normalise.h"
#include "io/atomic_file.h"
#include "train/evaluation.h"
#include "train/models.h"
#include "train/progress.h"
#include "train/targets.h"

namespace beit {
namespace {

/// Images [B, C, H, W] in [0, 1] to features [B, F].
using Features = std::function<torch::Tensor(const torch::Tensor& images_BCHW)>;

/// Tokens after a block, without the network's last norm.
Features backbone_features(const LoadedBackbone& backbone, int64_t layer, FeaturePooling pooling) {
  return [model = backbone.model, input = backbone.input, layer, pooling](const torch::Tensor& images_BCHW) mutable {
    return pool(model->layers(normalise(images_BCHW, input), {layer}).front(), pooling);
  };
}

/// The mean of the teacher's map.
Features teacher_features(const TeacherChoice& choice, const ModelOptions& student, const torch::Device& device) {
  const auto teacher = load_teacher(choice, student);
  teacher->to(device);
  return [teacher](const torch::Tensor& images_BCHW) { return teacher->target(images_BCHW).mean(1); };
}

Dataset open_classes(const std::vector<std::string>& paths, std::string_view flag) {
  Dataset images = open_images(paths, flag);
  for (int64_t i = 0; i < images.size(); ++i) {
    require(images.label(i) >= 0, "{}: expected images in class folders, got one without class", images.path(i));
  }
  require(images.classes().size() > 1, "{}: expected images of two classes at least, got {}; a class is a folder", flag,
          images.classes().size());
  return images;
}

void require_same_classes(const Dataset& train, const Dataset& val) {
  std::vector<std::string> alone;
  std::ranges::set_symmetric_difference(train.classes(), val.classes(), std::back_inserter(alone));
  require(alone.empty(),
          "probe: expected the same classes in --data and --val-data, got {} and {} of them; '{}' is in one only",
          train.classes().size(), val.classes().size(), alone.empty() ? "" : alone.front());
}

struct Probe {
  std::string weights, pooling = "mean", json;
  bool random_init = false, teacher_maps = false;
  int64_t layer = 0, seed = 0, seeds = 1, batch_size = 64;
  DataOptions data;
  ModelOptions model{.image_size = 0};
  MimChoice mim{.cls_branch = false};
  TeacherChoice teacher;
  RuntimeOptions runtime;

  OptionList options() {
    return join(
        {{{.name = "weights",
           .value = &weights,
           .help = "features of the backbone in weights of BEiT v2, ours or published, or in a run folder",
           .value_name = "FILE|RUN"},
          {.name = "random-init",
           .value = &random_init,
           .help =
               "features of untrained weights, drawn anew for each seed; --model and what follows state the network"},
          {.name = "teacher-features",
           .value = &teacher_maps,
           .help = "features of --teacher, mean over the patches of the grid of --image-size and --patch-size"},
          {.name = "layer",
           .value = &layer,
           .help = "block, from 1, whose tokens are the features, without the last norm; 0: the last",
           .range = {.least = 0}},
          {.name = "pooling",
           .value = &pooling,
           .help = "mean of the patch tokens, CLS token, or both",
           .choices = {"mean", "cls", "both"}},
          {.name = "seed",
           .value = &seed,
           .help = "the first; decides the held-out part and the starting weights",
           .range = {.least = 0}},
          {.name = "seeds",
           .value = &seeds,
           .help = "how often to repeat, each time with the next seed",
           .range = {.least = 1}},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}},
          {.name = "json", .value = &json, .help = "file for the result as a JSON object", .value_name = "FILE"}},
         pick(describe(data), {"data", "val-data", "workers", "apply-orientation"}),
         pick(describe(model), {"model", "width", "depth", "heads", "image-size", "patch-size"}),
         pick(describe(mim), {"layer-scale"}),
         pick(describe(teacher), {"teacher", "teacher-weights", "teacher-image-size"}),
         describe(runtime)});
  }

  void run() {
    const int sources = (weights.empty() ? 0 : 1) + (random_init ? 1 : 0) + (teacher_maps ? 1 : 0);
    require(sources == 1, "probe: expected one of --weights FILE, --random-init and --teacher-features, got {}",
            sources == 0 ? "none" : "several");
    if (!json.empty()) require_writable(json);

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    const Dataset train = open_classes(data.data, "data"), val = open_classes(data.val_data, "val-data");
    require_same_classes(train, val);
    Features features = make_features(seed, device);

    const int64_t passes = random_init ? seeds : 1;
    Progress progress(0, passes * (train.size() + val.size()), 1, !runtime.quiet);
    int64_t done = 0;
    const auto features_of = [&](const Dataset& images) {
      return extract(images, features, device, [&](int64_t more) { progress.show(done += more, ""); });
    };
    LabelledFeatures known = features_of(train), asked = features_of(val);
    const auto classes = std::ssize(train.classes());
    std::vector<double> linear, knn;
    for (int64_t i = 0; i < seeds; ++i) {
      if (i > 0 && random_init) {
        features = make_features(seed + i, device);
        known = features_of(train);
        asked = features_of(val);
      }
      linear.push_back(linear_probe(known, asked, classes, {.seed = static_cast<uint64_t>(seed + i)}).top1);
      // Nothing but the features is random in it: of the same ones it is taken once, and has no spread.
      if (i == 0 || random_init) knn.push_back(knn_top1(known, asked, classes));
    }
    progress.clear();
    report(summarise(linear), summarise(knn), train, val);
  }

  /// Settles `model` and `layer` as well.
  Features make_features(int64_t weights_seed, const torch::Device& device) {
    if (teacher_maps) {
      resolve(model);
      return teacher_features(teacher, model, device);
    }
    torch::manual_seed(static_cast<uint64_t>(weights_seed));
    LoadedBackbone backbone = random_init
                                  ? random_backbone(model, mim)
                                  : load_backbone(weights, {.image_size = model.image_size, .heads = model.heads});
    backbone.model->to(device);
    model = backbone.options;
    require(layer <= model.depth, "probe: expected a layer between 1 and {}, or 0 for the last, got {}", model.depth,
            layer);
    if (layer == 0) layer = model.depth;
    return backbone_features(backbone, layer, feature_pooling(pooling));
  }

  LabelledFeatures extract(const Dataset& images, const Features& features, const torch::Device& device,
                           const std::function<void(int64_t)>& advance) const {
    Loader loader(images, evaluation_transform(model), evaluation_loading(data, batch_size));
    loader.start(/*epoch=*/0);
    LabelledFeatures all{torch::Tensor(), torch::empty({images.size()}, torch::kInt64)};
    int64_t row = 0;
    while (const auto batch = loader.next()) {
      const auto features_BF = features(batch->views[0].to(device)).to(torch::kFloat32);
      const int64_t rows = features_BF.size(0);
      if (row == 0) all.features_MF = torch::empty({images.size(), features_BF.size(1)}, features_BF.options());
      all.features_MF.slice(0, row, row + rows).copy_(features_BF);
      all.labels_M.slice(0, row, row + rows).copy_(batch->labels_B);
      row += rows;
      advance(rows);
    }
    all.labels_M = all.labels_M.to(device);
    return all;
  }

  void report(const Summary& linear, const Summary& knn, const Dataset& train, const Dataset& val) const {
    using Json = nlohmann::ordered_json;
    const auto spread = [](const Summary& summary) { return summary.spread ? Json(*summary.spread) : Json(nullptr); };
    const std::string source = random_init ? "random weights" : teacher_maps ? "teacher " + teacher.teacher : weights;
    const std::string pooled = teacher_maps ? "mean" : pooling;
    const auto classes = std::ssize(train.classes());
    if (!json.empty()) {
      const Json result{{"source", source},
                        {"linear_top1", linear.mean},
                        {"linear_top1_spread", spread(linear)},
                        {"knn_top1", knn.mean},
                        {"knn_top1_spread", spread(knn)},
                        {"seeds", seeds},
                        {"layer", teacher_maps ? Json(nullptr) : Json(layer)},
                        {"pooling", pooled},
                        {"images", train.size()},
                        {"val_images", val.size()},
                        {"classes", classes}};
      write_file_atomically(json, result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    }
    const auto percent = [](const Summary& summary) {
      return fmt::format("{:.2f}%{}", summary.mean, summary.spread ? fmt::format(" +- {:.2f}", *summary.spread) : "");
    };
    log().info("{}: linear {}, kNN {}; {} seed{}, {} training and {} validation images of {} classes, {} pooling{}",
               source, percent(linear), percent(knn), seeds, seeds == 1 ? "" : "s", train.size(), val.size(), classes,
               pooled, teacher_maps ? "" : fmt::format(" after block {}", layer));
  }
};

}  // namespace

Command probe_command() { return make_command<Probe>("probe", "Measure what frozen features know of the classes"); }

}  // namespace beit

// `beit probe`: what frozen features know of the classes.
// Shape letters: B images of a batch, M images of a data set, C channels, T tokens (CLS first), N patches, D and F
// widths.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/feature_source.h"
#include "cli/images.h"
#include "cli/number_list.h"
#include "cli/probe_features.h"
#include "cli/probe_report.h"
#include "cli/runtime.h"
#include "core/attentive_probe.h"
#include "core/knn.h"
#include "core/linear_probe.h"
#include "core/linear_sweep.h"
#include "io/atomic_file.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace beit {
namespace {

const std::vector<std::string> kPoolings{"mean", "cls", "both"};

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void require_same_classes(const Dataset& train, const Dataset& val) {
  std::vector<std::string> alone;
  std::ranges::set_symmetric_difference(train.classes(), val.classes(), std::back_inserter(alone));
  require(alone.empty(),
          "probe: expected the same classes in --data and --val-data, got {} and {} of them; '{}' is in one only",
          train.classes().size(), val.classes().size(), alone.empty() ? "" : alone.front());
}

torch::Tensor labels_of(const Dataset& images, const torch::Device& device) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < images.size(); ++i) labels.push_back(images.label(i));
  return torch::tensor(labels).to(device);
}

/// The row of that number, made like `start` where there is none yet: at the first seed.
template <class Row>
Row& row_at(std::vector<Row>& rows, size_t number, Row start) {
  if (rows.size() <= number) rows.push_back(std::move(start));
  return rows[number];
}

struct Probe {
  std::vector<std::string> given;
  std::string weights, json, cache, linear = "lbfgs", feature_norm = "standard";
  std::vector<std::string> lr, neighbours{"20"}, temperature{"0.07"};
  std::vector<std::string> attentive_lr{"1e-4", "3e-4", "1e-3", "3e-3"};
  bool random_init = false, teacher_maps = false, attentive = false;
  int64_t seed = 0, seeds = 1, batch_size = 64, attentive_epochs = 20;
  LinearSweepOptions sweep;
  FeatureChoice choice;
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
           .help = "features of --teacher, mean over the patches of the grid of --image-size and --patch-size"}},
         describe(choice, kPoolings),
         {{.name = "cache",
           .value = &cache,
           .help = "file for the features, made where it is missing and read where it is there, so that further probes "
                   "need no pass over the images; of --weights",
           .value_name = "FILE"},
          {.name = "linear",
           .value = &linear,
           .help = "classifier: logistic regression to its minimum by lbfgs, or by batches with sgd or lars",
           .choices = {"lbfgs", "sgd", "lars"}},
          {.name = "lr",
           .value = &lr,
           .help = "of sgd and lars, of a batch of 256: times --probe-batch / 256; again for several, of which the "
                   "held-out part of the training set chooses; none: a sweep",
           .value_name = "X"},
          {.name = "probe-batch",
           .value = &sweep.batch_size,
           .help = "features in a batch of sgd and lars",
           .range = {.least = 1}},
          {.name = "epochs",
           .value = &sweep.epochs,
           .help = "of sgd and lars; the rate falls by a cosine",
           .range = {.least = 1}},
          {.name = "warmup-epochs",
           .value = &sweep.warmup_epochs,
           .help = "of sgd and lars, in which the rate rises",
           .range = {.least = 0}},
          {.name = "weight-decay", .value = &sweep.weight_decay, .help = "of sgd and lars", .range = {.least = 0}},
          {.name = "feature-norm",
           .value = &feature_norm,
           .help = "before the classifier of sgd and lars: standard, by mean and deviation of the training set (as "
                   "lbfgs), batch norm without weights, or none",
           .choices = {"standard", "batch", "none"}},
          {.name = "neighbours",
           .value = &neighbours,
           .help = "of kNN; again for several, the first is the figure",
           .value_name = "N"},
          {.name = "temperature",
           .value = &temperature,
           .help = "of kNN's votes; again for several, the first is the figure",
           .value_name = "X"},
          {.name = "attentive",
           .value = &attentive,
           .help = "also train an attentive probe on each layer's patch tokens, which are held in memory: 2 bytes x "
                   "images x patches x width for each layer (base at 224 pixels: 0.3 MB an image)"},
          {.name = "attentive-lr",
           .value = &attentive_lr,
           .help = "of the attentive probe's AdamW; again for several, of which the held-out part chooses",
           .value_name = "X"},
          {.name = "attentive-epochs",
           .value = &attentive_epochs,
           .help = "of the attentive probe",
           .range = {.least = 1}},
          {.name = "seed",
           .value = &seed,
           .help = "the first; decides the held-out part, starting weights and order",
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
    check();
    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    const Dataset train = open_classes(data.data, "data"), val = open_classes(data.val_data, "val-data");
    require_classes(train, "data");
    require_same_classes(train, val);
    if (!cache.empty()) {
      require_unread(cache, train);
      require_unread(cache, val);
    }
    Network network = open_network(seed, train, val, device);
    const int64_t passes = random_init ? seeds : 1;
    int64_t done = 0;
    Progress progress(0, passes * (train.size() + val.size()), 1, !runtime.quiet);
    const FeaturePass pass{model, data, batch_size, device, [&](int64_t more) { progress.show(done += more, ""); }};
    const auto known_M = labels_of(train, device), asked_M = labels_of(val, device);
    const auto classes = std::ssize(train.classes());
    ProbeFeatures features = features_of(network, train, val, pass);
    for (int64_t i = 0; i < seeds; ++i) {
      if (i > 0 && random_init) {
        network = open_network(seed + i, train, val, device);
        features = features_of(network, train, val, pass);
      }
      measure(features, known_M, asked_M, classes, i);
    }
    progress.clear();
    report(train, val);
  }

 private:
  /// What was asked for, before any work; settles `sweep`, `neighbourhood` and `attention`.
  void check() {
    const int sources = (weights.empty() ? 0 : 1) + (random_init ? 1 : 0) + (teacher_maps ? 1 : 0);
    require(sources == 1, "probe: expected one of --weights FILE, --random-init and --teacher-features, got {}",
            sources == 0 ? "none" : "several");
    require(cache.empty() || !weights.empty(), "probe: expected --cache with --weights, got it with other features");
    require(!teacher_maps || !choice.final_norm, "probe: expected --final-norm with a backbone, got a teacher");
    require(lr.empty() || linear != "lbfgs", "probe: expected --lr with --linear sgd or lars, got it with lbfgs");
    for (const char* of_batches : {"epochs", "warmup-epochs", "weight-decay", "probe-batch", "feature-norm"}) {
      require(linear != "lbfgs" || std::ranges::find(given, of_batches) == given.end(),
              "probe: expected --{} with --linear sgd or lars, got it with lbfgs; set --linear", of_batches);
    }
    for (const char* of_backbone : {"layer", "pooling"}) {
      require(!teacher_maps || std::ranges::find(given, of_backbone) == given.end(),
              "probe: expected --{} with a backbone, got it with --teacher-features; leave it out", of_backbone);
    }
    require(sweep.warmup_epochs < sweep.epochs, "probe: expected fewer --warmup-epochs than --epochs, got {} of {}",
            sweep.warmup_epochs, sweep.epochs);
    const Range positive{.least = 0, .without_least = true};
    sweep.optimizer = linear == "lars" ? ProbeOptimizer::kLars : ProbeOptimizer::kSgd;
    sweep.norm = feature_norm == "batch"  ? FeatureNorm::kBatch
                 : feature_norm == "none" ? FeatureNorm::kNone
                                          : FeatureNorm::kStandard;
    sweep.lrs = linear == "lars" ? std::vector{0.03, 0.1, 0.3, 1.0, 3.0, 10.0}
                                 : std::vector{0.001, 0.003, 0.01, 0.03, 0.1, 0.3};
    if (!lr.empty()) sweep.lrs = numbers(lr, "lr", positive);
    neighbourhood = {whole_numbers(neighbours, "neighbours", {.least = 1}),
                     numbers(temperature, "temperature", positive)};
    require(!neighbourhood.neighbours.empty() && !neighbourhood.temperatures.empty(),
            "probe: expected --neighbours and --temperature, got an empty list");
    attention.lrs = numbers(attentive_lr, "attentive-lr", positive);
    attention.epochs = attentive_epochs;
    require(!attentive || !attention.lrs.empty(), "probe: expected --attentive-lr, got an empty list");
    for (const std::string& output : {json, cache}) {
      if (output.empty()) continue;
      require_apart(output, weights, join_paths());
      require_writable(output);
    }
  }

  std::vector<std::string> join_paths() const {
    auto paths = data.data;
    paths.insert(paths.end(), data.val_data.begin(), data.val_data.end());
    return paths;
  }

  /// A frozen network and what its cached features follow from.
  struct Network {
    std::function<FeatureSource(std::vector<FeatureSet>)> features;
    std::string key = {};
  };

  /// Settles `model`, `pooled` and `patches` as well.
  Network open_network(int64_t weights_seed, const Dataset& train, const Dataset& val, const torch::Device& device) {
    if (teacher_maps) {
      resolve(model);
      pooled = {{0, "mean"}};
      if (attentive) patches = {{0, "patches"}};
      return {[this, device](std::vector<FeatureSet> sets) {
        return teacher_features(teacher, model, std::move(sets), device);
      }};
    }
    torch::manual_seed(static_cast<uint64_t>(weights_seed));
    LoadedBackbone backbone = random_init
                                  ? random_backbone(model, mim)
                                  : load_backbone(weights, {.image_size = model.image_size, .heads = model.heads});
    backbone.model->to(device);
    model = backbone.options;
    pooled = feature_sets(choice, model.depth, kPoolings);
    if (attentive) patches = feature_sets({choice.layer, {"patches"}}, model.depth, {"patches"});
    std::string key = cache.empty() ? "" : cache_key(backbone, choice.final_norm, train, val, data.apply_orientation);
    return {[backbone, this](std::vector<FeatureSet> sets) {
              return backbone_features(backbone, std::move(sets), choice.final_norm);
            },
            std::move(key)};
  }

  /// Of `pooled` and then of `patches`: in one pass over the images, unless the cache has the former.
  ProbeFeatures features_of(const Network& network, const Dataset& train, const Dataset& val, const FeaturePass& pass) {
    const auto cached = [&] { return read_feature_cache(cache, network.key, pooled, train.size(), val.size()); };
    const bool made = !cache.empty() && fs::exists(cache);
    ProbeFeatures features;
    if (made) features = cached();
    std::vector<FeatureSet> sets = made ? std::vector<FeatureSet>{} : pooled;
    sets.insert(sets.end(), patches.begin(), patches.end());
    if (sets.empty()) return features;
    const fs::path folder = cache.empty() || made ? fs::path() : fs::absolute(cache).parent_path();
    ProbeFeatures fresh = extract_features(network.features(sets), train, val, pass, folder);
    if (!cache.empty() && !made) {
      write_feature_cache(cache, network.key, pooled, fresh);
      features = cached();
      fresh.train.erase(fresh.train.begin(), fresh.train.begin() + std::ssize(pooled));
      fresh.val.erase(fresh.val.begin(), fresh.val.begin() + std::ssize(pooled));
    }
    std::ranges::move(fresh.train, std::back_inserter(features.train));
    std::ranges::move(fresh.val, std::back_inserter(features.val));
    return features;
  }

  void measure(const ProbeFeatures& features, const torch::Tensor& known_M, const torch::Tensor& asked_M,
               int64_t classes, int64_t pass) {
    const auto run_seed = static_cast<uint64_t>(seed + pass);
    size_t linear_row = 0, knn_row = 0, attentive_row = 0;
    for (size_t s = 0; s < pooled.size(); ++s) {
      // Features of one kind at a time lie on the device.
      const LabelledFeatures known{features.train[s].to(known_M.device()), known_M};
      const LabelledFeatures asked{features.val[s].to(asked_M.device()), asked_M};
      if (linear == "lbfgs") {
        const auto result = linear_probe(known, asked, classes, {.seed = run_seed});
        auto& row = row_at(linear_rows, linear_row++, {.set = pooled[s]});
        row.strengths.push_back(result.strength);
        row.held_out.push_back(result.held_out_top1);
        row.top1.push_back(result.top1);
      } else {
        sweep.seed = run_seed;
        add(linear_rows, linear_row, pooled[s], linear_sweep(known, asked, classes, sweep));
      }
      // Nothing but the features is random in it: of the same ones it is taken once, and has no spread.
      if (pass > 0 && !random_init) continue;
      for (const KnnResult& result : knn(known, asked, classes, neighbourhood)) {
        row_at(knn_rows, knn_row++, {pooled[s], result.neighbours, result.temperature}).top1.push_back(result.top1);
      }
    }
    for (size_t s = 0; s < patches.size(); ++s) {
      const size_t at = pooled.size() + s;
      attention.seed = run_seed;
      const int64_t width = features.train[at].size(2);
      attention.heads = !teacher_maps ? model.heads : width % 64 == 0 ? width / 64 : 1;
      add(attentive_rows, attentive_row, patches[s],
          attentive_probe({features.train[at], known_M}, {features.val[at], asked_M}, classes, attention));
    }
  }

  static void add(std::vector<TrainedRow>& rows, size_t& number, const FeatureSet& set,
                  const std::vector<RateResult>& results) {
    for (const RateResult& result : results) {
      auto& row = row_at(rows, number++, {.set = set, .lr = result.lr});
      row.held_out.push_back(result.held_out_top1);
      row.top1.push_back(result.top1);
    }
  }

  void report(const Dataset& train, const Dataset& val) const {
    const std::string source = random_init ? "random weights" : teacher_maps ? "teacher " + teacher.teacher : weights;
    const TrainedRow& best = chosen(linear_rows);
    // Of kNN nothing is chosen: the first --neighbours and --temperature, of the features that the linear probe chose.
    const Summary by_line = summarise(best.top1),
                  by_neighbours = summarise(std::ranges::find(knn_rows, best.set, &KnnRow::set)->top1);
    const auto classes = std::ssize(train.classes());
    if (!json.empty()) {
      Json result{{"source", source},
                  {"linear_top1", by_line.mean},
                  {"linear_top1_spread", spread_json(by_line)},
                  {"knn_top1", by_neighbours.mean},
                  {"knn_top1_spread", spread_json(by_neighbours)},
                  {"seeds", seeds},
                  {"layer", best.set.layer == 0 ? Json(nullptr) : Json(best.set.layer)},
                  {"pooling", best.set.pooling},
                  {"images", train.size()},
                  {"val_images", val.size()},
                  {"classes", classes},
                  {"linear", linear},
                  {"linear_rows", rows_json(linear_rows)},
                  {"knn_rows", rows_json(knn_rows)}};
      if (attentive) {
        const Summary by_attention = summarise(chosen(attentive_rows).top1);
        result["attentive_top1"] = by_attention.mean;
        result["attentive_top1_spread"] = spread_json(by_attention);
        result["attentive_rows"] = rows_json(attentive_rows);
      }
      write_file_atomically(json, result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    }
    if (!runtime.quiet && linear_rows.size() > 1) fmt::print("{}\n", rows_table("linear", linear_rows));
    if (!runtime.quiet && knn_rows.size() > 1) fmt::print("{}\n", rows_table(knn_rows));
    if (!runtime.quiet && attentive_rows.size() > 1) fmt::print("{}\n", rows_table("attentive", attentive_rows));
    log().info("{}: linear {}, kNN {}{}; {} seed{}, {} training and {} validation images of {} classes, {} pooling{}",
               source, percent(by_line), percent(by_neighbours),
               attentive ? fmt::format(", attentive {}{}", percent(summarise(chosen(attentive_rows).top1)),
                                       teacher_maps ? "" : fmt::format(" (block {})", chosen(attentive_rows).set.layer))
                         : "",
               seeds, seeds == 1 ? "" : "s", train.size(), val.size(), classes, best.set.pooling,
               teacher_maps ? "" : fmt::format(" after block {}", best.set.layer));
  }

  KnnOptions neighbourhood;
  AttentiveProbeOptions attention;
  std::vector<FeatureSet> pooled, patches;
  std::vector<TrainedRow> linear_rows, attentive_rows;
  std::vector<KnnRow> knn_rows;
};

}  // namespace

Command probe_command() { return make_command<Probe>("probe", "Measure what frozen features know of the classes"); }

}  // namespace beit

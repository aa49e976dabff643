// `beit features`: what a backbone makes of images, in a file.
// Shape letters: B images of a batch, M images, T tokens (CLS first), D width.
#include <numeric>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/feature_rows.h"
#include "cli/feature_source.h"
#include "cli/image_pass.h"
#include "cli/image_rows.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "cli/runtime.h"
#include "cli/table.h"
#include "io/atomic_file.h"
#include "train/evaluation.h"
#include "train/models.h"

namespace beit {
namespace {

const std::vector<std::string> kPoolings{"mean", "cls", "both", "tokens"};

struct FeaturesOfImages {
  std::string weights, output;
  FeatureChoice choice;
  DataOptions data;
  LoadOptions load;
  RuntimeOptions runtime;
  int64_t batch_size = 64;
  bool half = false, skip_damaged = false;

  OptionList options() {
    return join(
        {{{.name = "weights",
           .value = &weights,
           .help = "weights of BEiT v2, ours or published, or a run folder",
           .value_name = "FILE|RUN"},
          {.name = "output",
           .value = &output,
           .help = "safetensors file for the features, labels and paths; while it is written it takes twice its room",
           .value_name = "FILE"}},
         describe(choice, kPoolings),
         {{.name = "half", .value = &half, .help = "write float16 in place of float32"},
          {.name = "skip-damaged", .value = &skip_damaged, .help = "leave out images that cannot be read"},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
         describe(load),
         pick(describe(data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!weights.empty(), "features: expected weights, got none; set --weights FILE or RUN");
    require(!data.data.empty(), "features: expected images, got none; set --data PATH");
    require(!output.empty(), "features: expected a file for the features, got none; set --output FILE");
    require_apart(output, weights, data.data);
    require_writable(output);

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedBackbone backbone = load_backbone(weights, load);
    const auto sets = feature_sets(choice, backbone.options.depth, kPoolings);
    backbone.model->to(device);
    const FeatureSource source = backbone_features(backbone, sets, choice.final_norm);

    const Dataset images = open_images(data.data, "data");
    require_unread(output, images);
    std::vector<FeatureRows> rows;
    for (size_t i = 0; i < sets.size(); ++i) {
      rows.emplace_back(std::filesystem::path(output).parent_path(), half ? torch::kFloat16 : torch::kFloat32);
    }
    std::vector<torch::Tensor> labels_B;
    std::vector<std::string> paths;
    const auto take = [&](const Batch& batch) {
      const auto features = source.of(batch.views[0]);
      if (paths.empty()) require_room(rows, features, images);
      for (size_t i = 0; i < sets.size(); ++i) rows[i].append(features[i]);
      for (int64_t row = 0; row < batch.indices_B.size(0); ++row)
        paths.push_back(images.path(batch.indices_B[row].item<int64_t>()));
      labels_B.push_back(batch.labels_B.clone());
    };
    const Passed passed = each_batch(images, evaluation_transform(backbone.options),
                                     {.command = "features",
                                      .data = data,
                                      .batch_size = batch_size,
                                      .skip_damaged = skip_damaged,
                                      .device = device,
                                      .quiet = runtime.quiet},
                                     take);
    write(rows, sets, torch::cat(labels_B), images, paths);
    log().info("{} of {} images, {:.1f} images/s; written to {}",
               sets.size() == 1 ? sets.front().name() : fmt::format("{} features", sets.size()), passed.images,
               passed.images_per_s, output);
  }

  /// Before the work, not after it.
  void require_room(const std::vector<FeatureRows>& rows, const std::vector<torch::Tensor>& features,
                    const Dataset& images) const {
    int64_t row_bytes = 0;
    for (size_t i = 0; i < rows.size(); ++i) row_bytes += rows[i].row_bytes(features[i]);
    require_fitting_paths(images, images.size() * row_bytes, "features");
    require_disk(output, 2 * images.size() * row_bytes, "the features");
  }

  void write(const std::vector<FeatureRows>& rows, const std::vector<FeatureSet>& sets, const torch::Tensor& labels_M,
             const Dataset& images, const std::vector<std::string>& paths) {
    auto metadata = config_metadata("features", options());
    metadata["paths"] = paths_metadata(paths);
    TensorMap tensors;
    for (size_t i = 0; i < sets.size(); ++i) tensors.emplace(sets[i].name(), rows[i].tensor());
    if (labels_M.ge(0).all().item<bool>()) {
      tensors.emplace("labels", labels_M);
      metadata.insert(class_metadata(images.classes()));
    }
    write_safetensors(output, tensors, metadata);
  }
};

}  // namespace

Command features_command() {
  return make_command<FeaturesOfImages>("features", "Write a backbone's features of images to a file");
}

}  // namespace beit

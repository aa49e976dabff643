// `beit serve`: a network over HTTP.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/as_trained.h"
#include "cli/command.h"
#include "cli/feature_source.h"
#include "cli/images.h"
#include "cli/interrupt.h"
#include "cli/runtime.h"
#include "serve/server.h"
#include "train/code_atlas.h"
#include "train/network_file.h"
#include "train/segment.h"

namespace beit {
namespace {

const std::vector<std::string> kPoolings{"mean", "cls", "both", "tokens"};

struct Serve {
  std::vector<std::string> given;
  std::string weights;
  int64_t top = 5;
  ServeOptions serving;
  FeatureChoice features;
  WindowOptions windows;
  DataOptions data;
  LoadOptions load;
  RuntimeOptions runtime;

  OptionList options() {
    OptionList images = pick(describe(data), {"data", "workers"});
    images[0].help = "images whose patches show what a tokenizer's codes stand for; again for several sources";
    return join(
        {{{.name = "weights",
           .value = &weights,
           .help = "weights of a network, ours or published, or a run folder; which it is decides what it serves",
           .value_name = "FILE|RUN"}},
         describe(serving),
         {{.name = "top",
           .value = &top,
           .help = "most likely classes that JSON tells of an image, at most",
           .range = {.least = 1, .most = 1e6}}},
         describe(features, kPoolings),
         describe(windows),
         std::move(images),
         describe(load),
         describe(runtime)});
  }

  void run() {
    require(!weights.empty(), "serve: expected a network, got none; set --weights FILE or RUN");
    require_protected(serving, token_of(serving));  // before the network is loaded
    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    auto [model, gallery] = open(device);
    require(data.data.empty() || gallery != nullptr,
            "data: expected a tokenizer for --data, got another network; leave --data out");
    add_features(model, device);

    const auto stopped = stop_on_signal();
    Server server(std::move(model), serving, std::move(gallery));
    log().info("serving {} at {}; Ctrl-C ends it", weights, server.address());
    const bool done = server.run(stopped);
    if (!done)
      log().warn("requests were under way after {} s and were refused; --shutdown-s gives them longer",
                 serving.shutdown_s);
    log().info("ended");
  }

  struct Opened {
    ServedModel model;
    std::unique_ptr<const CodeGallery> gallery;  ///< of a tokenizer, where there is --data
  };
  Opened open(const torch::Device& device) {
    switch (open_network(weights, load).network) {
      case Network::kTokenizer: {
        LoadedTokenizer loaded = load_tokenizer(weights, load);
        loaded.model->to(device);
        auto gallery = data.data.empty() ? nullptr : gallery_of(loaded, device);
        return {served(std::move(loaded)), std::move(gallery)};
      }
      case Network::kClassifier: {
        LoadedClassifier loaded = load_classifier(weights, load);
        loaded.model->to(device);
        return {served(std::move(loaded), top), nullptr};
      }
      case Network::kSegmenter: {
        LoadedSegmenter loaded = load_segmenter(weights, load);
        loaded.model->to(device);
        take_as_trained(pick(describe(windows), {"long-side", "short-side", "stride"}), given, loaded.config, weights);
        check_windows(windows, loaded.options.image_size);
        return {served(std::move(loaded), windows), nullptr};
      }
      default: {
        LoadedBackbone loaded = load_backbone(weights, load);
        loaded.model->to(device);
        return {served(std::move(loaded)), nullptr};
      }
    }
  }

  std::unique_ptr<const CodeGallery> gallery_of(const LoadedTokenizer& tokenizer, const torch::Device& device) {
    Dataset images = open_images(data.data, "data");
    data.apply_orientation = serving.apply_orientation;
    CodeAtlas atlas =
        make_atlas(tokenizer, images, data, CodeGallery::kExamples, serving.max_batch, device, runtime.quiet);
    log().info("{} images show what codes stand for", atlas.images);
    return std::make_unique<const CodeGallery>(std::move(atlas), std::move(images), tokenizer.options,
                                               serving.apply_orientation);
  }

  void add_features(ServedModel& model, const torch::Device& device) const {
    const auto& backbone = model.backbone;
    const auto sets = feature_sets(features, backbone.options.depth, kPoolings);
    std::vector<std::string> names;
    for (const FeatureSet& set : sets) names.push_back(set.name());
    FeatureSource source = backbone_features(backbone, sets, features.final_norm);
    model.endpoints.push_back(features_endpoint(backbone.options, device, std::move(names), std::move(source.of)));
  }
};

}  // namespace

Command serve_command() {
  return make_command<Serve>("serve", "Answer requests for codes, features, classes or maps over HTTP");
}

}  // namespace beit

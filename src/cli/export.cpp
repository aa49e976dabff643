// `beit export`: a network as an ONNX file.
#include <filesystem>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/feature_source.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "cli/table.h"
#include "io/atomic_file.h"
#include "train/onnx_export.h"

namespace beit {
namespace {

const std::vector<std::string> kPoolings{"mean", "cls", "both", "tokens", "patches"};

struct Export {
  std::string weights, output, as = "auto";
  FeatureChoice choice;
  LoadOptions load;
  std::vector<std::string> given = {};

  OptionList options() {
    return join({{{.name = "weights",
                   .value = &weights,
                   .help = "weights of BEiT v2, ours or published, or a run folder",
                   .value_name = "FILE|RUN"},
                  {.name = "output", .value = &output, .help = "ONNX file for the network", .value_name = "FILE.onnx"},
                  {.name = "as",
                   .value = &as,
                   .help = "what images become; auto: codes of a tokenizer, logits of a classifier, else features",
                   .choices = {"auto", "codes", "logits", "probabilities", "features"}}},
                 describe(choice, kPoolings),
                 describe(load)});
  }

  void run() {
    require(!weights.empty(), "export: expected weights, got none; set --weights FILE or RUN");
    require(output.ends_with(".onnx"), "export: expected a file for the network, got '{}'; set --output FILE.onnx",
            output);
    require_apart(output, weights, {});
    require_writable(output);
    const Network network = open_network(weights, load).network;
    const std::string kind = as != "auto"                      ? as
                             : network == Network::kTokenizer  ? "codes"
                             : network == Network::kClassifier ? "logits"
                                                               : "features";
    for (const std::string& option : given) {
      require(kind == "features" || (option != "layer" && option != "pooling" && option != "final-norm"),
              "export: expected --{} with features, got {}; leave it out or set --as features", option, kind);
    }

    OnnxGraph graph = graph_of(kind);
    for (const auto& [key, text] : config_metadata("export", options())) graph.describe(key, text);
    graph.write(output);
    log().info("{}: {}, {}; written to {}, {}", weights, readable(network), graph.signature(), output,
               readable_bytes(static_cast<int64_t>(std::filesystem::file_size(output))));
  }

  OnnxGraph graph_of(const std::string& kind) const {
    if (kind == "codes") return onnx_codes(load_tokenizer(weights, load));
    if (kind != "features") return onnx_classifier(load_classifier(weights, load), kind == "probabilities");
    const LoadedBackbone backbone = load_backbone(weights, load);
    const auto sets = feature_sets(choice, backbone.options.depth, kPoolings);
    return onnx_features(backbone, sets, choice.final_norm);
  }
};

}  // namespace

Command export_command() {
  return make_command<Export>("export", "Write a network as an ONNX file, which runs without LibTorch");
}

}  // namespace beit

#include "cli/run_report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "cli/class_choice.h"
#include "cli/images.h"
#include "cli/run_state.h"
#include "cli/settings.h"
#include "train/atlas_strips.h"
#include "train/attention_maps.h"
#include "train/class_confusion.h"
#include "train/event_reader.h"
#include "train/masked_predictions.h"
#include "train/neighbours.h"
#include "train/segment.h"
#include "train/shown_images.h"
#include "viz/confusion_picture.h"
#include "viz/label_picture.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;

std::vector<fs::path> as_paths(const Paths& texts) { return std::vector<fs::path>(texts.begin(), texts.end()); }

/// What the run folder's configuration says, as words.
class Configuration {
 public:
  Configuration() = default;
  explicit Configuration(const fs::path& file) : settings_(read_settings(file)) {}

  Paths words(std::string_view key) const {
    const auto found = std::ranges::find(settings_, key, &Setting::key);
    return found == settings_.end() ? Paths() : found->words;
  }
  std::string word(std::string_view key) const {
    const Paths all = words(key);
    return all.empty() ? "" : all.front();
  }
  Facts facts() const {
    Facts facts;
    for (const Setting& setting : settings_)
      facts.emplace_back(setting.key, fmt::format("{}", fmt::join(setting.words, ", ")));
    return facts;
  }

 private:
  std::vector<Setting> settings_;
};

Facts state_of(const RunState& run) {
  Facts facts{{"state", run.message.empty() ? readable(run.stage) : readable(run.stage) + ": " + run.message},
              {"steps", fmt::format("{} of {}", run.step, run.steps)},
              {"epochs", fmt::format("{} of {}", run.epoch, run.epochs)}};
  if (run.loss) facts.emplace_back("loss", fmt::format("{:.4g}", *run.loss));
  if (run.figure) facts.emplace_back(run.figure->name, fmt::format("{:.4g}", run.figure->value));
  if (run.images_per_s > 0) facts.emplace_back("images a second", fmt::format("{:.4g}", run.images_per_s));
  return facts;
}

/// Of the log's first line.
Facts environment_of(const fs::path& log) {
  constexpr size_t kMostBytes = 1 << 16;
  std::string text(kMostBytes, '\0');
  std::ifstream file(log, std::ios::binary);
  file.read(text.data(), std::ssize(text));
  text.resize(static_cast<size_t>(file.gcount()));
  const auto line = nlohmann::ordered_json::parse(text.substr(0, text.find('\n')), nullptr, /*allow_exceptions=*/false);
  Facts facts;
  if (!line.is_object()) return facts;
  for (const char* key : {"version", "device", "precision", "ranks", "threads", "processor", "images", "batch_size"}) {
    const auto found = line.find(key);
    if (found == line.end() || found->is_null()) continue;
    facts.emplace_back(key, found->is_string() ? found->get<std::string>() : found->dump());
  }
  return facts;
}

/// Makes the sections of a run that want its weights and images.
class Sections {
 public:
  Sections(ReportRun& run, const fs::path& weights, const Configuration& configuration, const ReportOptions& options,
           int64_t attention_bytes, const torch::Device& device, bool quiet)
      : run_(run),
        weights_(weights.string()),
        configuration_(configuration),
        options_(options),
        attention_bytes_(attention_bytes),
        device_(device),
        quiet_(quiet) {}

  void make() {
    if (!attempt("codes, attention, neighbours and predictions", [&] { open(); })) return;
    if (network_ == Network::kTokenizer) attempt("codes", [&] { codes(); });
    if (network_ == Network::kPretrained) attempt("masked patches", [&] { masks(); });
    if (is_ours(network_)) attempt("attention and neighbours", [&] { features(); });
    if (network_ == Network::kClassifier) attempt("confusion", [&] { confusion(); });
    if (network_ == Network::kSegmenter) attempt("predictions", [&] { overlays(); });
  }

 private:
  /// Whether it came to its end; why not goes to the report.
  template <class Work>
  bool attempt(std::string_view what, const Work& work) try {
    work();
    return true;
  } catch (const std::exception& error) {  // LibTorch's, too: the rest is worth its page
    run_.missing.push_back(fmt::format("{}: {}", what, first_line(error.what())));
    return false;
  }

  void open() {
    std::error_code ignored;
    require(fs::exists(weights_, ignored),
            "{}: expected the run's weights, got none; they come with its first checkpoint", weights_);
    network_ = open_network(weights_).network;
    if (!options_.data.data.empty()) return use(options_.data.data, {});
    std::string why = "its configuration names none";
    for (const std::string before : {"val-", ""}) {
      const Paths paths = configuration_.words(before + "data");
      if (paths.empty()) continue;
      try {
        return use(paths, configuration_.words(before + "labels"));
      } catch (const Error& error) {
        why = error.what();
      }
    }
    fail("{}; give images by --data, or start where the run was started, if its paths are relative", why);
  }

  void use(const Paths& paths, const Paths& labels) {
    sources_ = as_paths(paths);
    labels_ = as_paths(labels);
    images_ = open_images(paths, "data");
  }

  ShownImages shown(const ModelOptions& model) const {
    return shown_images(images_, model, options_.images, options_.data.apply_orientation);
  }

  void codes() {
    const LoadedTokenizer loaded = load_tokenizer(weights_);
    Tokenizer(loaded.model)->to(device_);
    auto atlas = make_atlas(loaded, images_, options_.data, options_.examples, options_.batch_size, device_, quiet_);
    run_.atlas = atlas_strips(std::move(atlas), images_, loaded.options, {.codes = options_.codes},
                              options_.data.apply_orientation);
  }

  void masks() {
    const std::string tokenizer = options_.tokenizer.empty() ? configuration_.word("tokenizer") : options_.tokenizer;
    std::error_code ignored;
    require(fs::exists(tokenizer, ignored),
            "expected the tokenizer that the run was trained with, got nothing at '{}'; "
            "give it by --tokenizer",
            tokenizer);
    const LoadedMim mim = load_mim(weights_);
    const LoadedTokenizer coder = load_tokenizer(tokenizer);
    const std::string identity = tokenizer_identity(coder.model);
    require(mim.tokenizer.empty() || mim.tokenizer == identity,
            "{}: expected the tokenizer that the run was trained with, {}, got {}; give that one by --tokenizer",
            tokenizer, on_one_line(mim.tokenizer), on_one_line(identity));
    MaskedImageModel(mim.model)->to(device_);
    Tokenizer(coder.model)->to(device_);
    run_.masks =
        masked_predictions(mim, coder, images_, shown(mim.options).indices, options_.data.apply_orientation, device_);
  }

  void features() {
    const LoadedBackbone backbone = load_backbone(weights_);
    ViT(backbone.model)->to(device_);
    attempt("attention", [&] { attention(backbone); });
    attempt("neighbours", [&] {
      run_.neighbours =
          nearest_images(backbone, images_, options_.data,
                         {.images = options_.measured, .batch_size = options_.batch_size}, device_, quiet_);
    });
  }

  void attention(const LoadedBackbone& backbone) {
    const AttentionShare share = attention_share(backbone.model->options(), options_.images, attention_bytes_);
    require(share.images > 0, "a layer of one image takes more than {} bytes; raise --max-mb", attention_bytes_);
    const ShownImages few = shown_images(images_, backbone.options, share.images, options_.data.apply_orientation);
    run_.attention = attention_maps(backbone, few, {std::ssize(few.indices), share.layers}, device_);
  }

  void confusion() {
    require_classes(images_, "data");
    const LoadedClassifier loaded = load_classifier(weights_);
    Classifier(loaded.model)->to(device_);
    const ClassMatch match = match_classes(images_.classes(), loaded.class_names, loaded.classes);
    const Confusion found = class_confusion(loaded, images_, match.outputs, options_.measured, options_.data,
                                            options_.batch_size, device_, quiet_);
    std::vector<int64_t> numbers(static_cast<size_t>(loaded.classes));
    std::iota(numbers.begin(), numbers.end(), 0);
    const auto picture_HWC = confusion_picture(found.counts(), numbers);
    run_.pictures.push_back(
        {fmt::format("Which class (row) is taken for which (column), of {} images: {:.1f}% are right",
                     found.counts().sum().item<int64_t>(), found.accuracy()),
         encoded(picture_HWC, std::max(picture_HWC.size(0), picture_HWC.size(1)))});
  }

  void overlays() {
    LoadedSegmenter loaded = load_segmenter(weights_);
    loaded.model->to(device_);
    LabelOptions labelling;
    WindowOptions windows;
    from_json(join({pick(describe(labelling), {"reduce-zero-label", "ignore-label"}),
                    pick(describe(windows), {"long-side", "short-side", "stride"})}),
              loaded.config.empty() ? "{}" : loaded.config, weights_);
    std::optional<LabelMaps> labels;
    if (!labels_.empty()) {
      labels.emplace(images_, sources_, labels_,
                     LabelRules{.classes = loaded.classes,
                                .reduce_zero_label = labelling.reduce_zero_label,
                                .ignore_label = labelling.ignore_label});
    }
    for (const int64_t index : shown(loaded.options).indices) {
      const SegmentedImage image = segment_image(loaded.model, images_, index, labels ? &*labels : nullptr, windows);
      const auto add = [&](const char* what, const torch::Tensor& labels_HW) {
        run_.pictures.push_back(
            {fmt::format("{}: {}", images_.path(index), what), encoded(label_overlay(image.pixels_HWC, labels_HW))});
      };
      if (image.labels_HW.defined()) add("its labels", image.labels_HW);
      add("what is predicted", image.predicted_HW.to(torch::kCPU).contiguous());
    }
  }

  ReportRun& run_;
  std::string weights_;
  const Configuration& configuration_;
  const ReportOptions& options_;
  int64_t attention_bytes_;
  torch::Device device_;
  bool quiet_;
  Network network_ = Network::kUnknown;
  std::vector<fs::path> sources_, labels_;
  Dataset images_;
};

}  // namespace

ReportRun run_report(const fs::path& folder, const ReportOptions& options, int64_t attention_bytes,
                     const torch::Device& device, bool quiet) {
  const torch::NoGradGuard no_grad;
  const RunState state = run_state(folder);
  ReportRun run;
  Configuration configuration;
  try {
    configuration = Configuration(folder / "config.toml");
  } catch (const Error& error) {  // the log and the weights tell enough
    run.missing.push_back(fmt::format("configuration: {}", error.what()));
  }
  run.name = folder.string();
  run.command = state.command;
  run.state = state_of(state);
  run.environment = environment_of(folder / "log.jsonl");
  run.configuration = configuration.facts();
  const auto uses = read_histograms(folder / "events", "codebook");
  if (!uses.empty()) {
    run.histogram = HistogramPlot{
        .title = "log10(1 + uses) of each code; 0: unused", .y_label = "how often codes are used", .steps = uses};
  }
  Sections(run, folder / "model.safetensors", configuration, options, attention_bytes, device, quiet).make();
  return run;
}

}  // namespace beit

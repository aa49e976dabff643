// `beit segment test`: what a segmentation makes of images: figures, label maps, pictures.
// Shape letters: H and W pixels, K classes.
#include "train/segment.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/as_trained.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "cli/table.h"
#include "core/confusion.h"
#include "data/png.h"
#include "io/atomic_file.h"
#include "train/models.h"
#include "train/progress.h"
#include "viz/label_picture.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// JSON has no other number for a class that does not occur.
Json number(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }
std::string percent(double value) { return std::isnan(value) ? "-" : fmt::format("{:.2f}", value); }

struct SegmentTest {
  std::vector<std::string> given;
  std::string weights, output, overlay, json;
  LoadOptions load;
  DataOptions data;
  LabelOptions label_options;
  WindowOptions windows;
  RuntimeOptions runtime;

  OptionList options() {
    return join(
        {{{.name = "weights",
           .value = &weights,
           .help = "weights of a segmentation, ours or published, or run folder of `beit segment`",
           .value_name = "FILE|RUN"},
          {.name = "output",
           .value = &output,
           .help = "folder for the label maps: PNG files whose pixels are classes, at the images' own sizes",
           .value_name = "FOLDER"},
          {.name = "overlay",
           .value = &overlay,
           .help = "folder for pictures of the images under the classes' colours",
           .value_name = "FOLDER"},
          {.name = "json", .value = &json, .help = "file for the figures as a JSON object", .value_name = "FILE"}},
         pick(describe(load), {"image-size", "heads"}),
         pick(describe(data), {"data", "workers"}),
         pick(describe(label_options), {"labels", "reduce-zero-label", "ignore-label"}),
         describe(windows),
         describe(runtime)});
  }

  void run() {
    check();
    const Dataset images = open_images(data.data, "data");
    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedSegmenter loaded = load_segmenter(weights, load);
    loaded.model->to(device);
    take_from_training(loaded);
    check_windows(windows, loaded.options.image_size);

    const std::vector<fs::path> sources(data.data.begin(), data.data.end());
    std::optional<LabelMaps> labels;
    if (!label_options.labels.empty()) {
      labels.emplace(images, sources, std::vector<fs::path>(label_options.labels.begin(), label_options.labels.end()),
                     LabelRules{.classes = loaded.classes,
                                .reduce_zero_label = label_options.reduce_zero_label,
                                .ignore_label = label_options.ignore_label});
    }
    const bool writes = !output.empty() || !overlay.empty();
    const auto paths = writes ? label_paths(images, sources, /*one_place=*/true) : std::vector<std::string>();

    Confusion confusion(loaded.classes);
    int64_t done = 0;
    Progress progress(0, images.size(), 1, !runtime.quiet);
    segment_images(loaded.model, images, labels ? &*labels : nullptr, {windows, data.workers}, /*rank=*/0, /*ranks=*/1,
                   [&](const SegmentedImage& image) {
                     if (labels) confusion.add(image.predicted_HW, image.labels_HW.to(device));
                     if (writes) write(image, paths[static_cast<size_t>(image.index)], images, labels);
                     progress.show(++done, "");
                   });
    progress.clear();
    if (labels) report(confusion, loaded, images.size());
    for (const std::string& folder : {output, overlay}) {
      if (!folder.empty()) log().info("{} images segmented; written to {}", images.size(), folder);
    }
  }

  /// How labels are meant and images shown is as in training, where the weights tell it and nobody says otherwise.
  void take_from_training(const LoadedSegmenter& loaded) {
    take_as_trained(join({pick(describe(label_options), {"reduce-zero-label", "ignore-label"}),
                          pick(describe(windows), {"long-side", "short-side", "stride"})}),
                    given, loaded.config, weights);
  }

  void check() const {
    require(!weights.empty(), "segment test: expected a segmentation, got none; set --weights FILE or RUN");
    require(!label_options.labels.empty() || !output.empty() || !overlay.empty(),
            "segment test: expected something to make of the images, got nothing; set --labels FOLDER for figures, "
            "--output FOLDER for label maps, or --overlay FOLDER for pictures");
    require(json.empty() || !label_options.labels.empty(),
            "segment test: expected label maps to measure by for --json, got none; set --labels FOLDER");
    if (!json.empty()) {
      require_apart(json, weights, data.data);
      require_writable(json);
    }
    for (const std::string& folder : {output, overlay}) {
      if (folder.empty()) continue;
      require_folder_apart(folder, data.data);
      require_folder_apart(folder, label_options.labels);
    }
    std::error_code none;
    require(
        output.empty() || overlay.empty() || fs::weakly_canonical(output, none) != fs::weakly_canonical(overlay, none),
        "segment test: expected --output and --overlay apart, got {} for both; their files have the same names",
        output);
  }

  void write(const SegmentedImage& image, const std::string& name, const Dataset& images,
             const std::optional<LabelMaps>& labels) const {
    const auto predicted_HW = image.predicted_HW.to(torch::kCPU).contiguous();
    const auto put = [&](const fs::path& path, const std::vector<uint8_t>& bytes) {
      require_unread(path, images);
      require(!labels || !labels->holds(path),
              "{}: expected an output apart from what is read, got a label map of --labels; choose another place",
              path.string());
      std::error_code error;
      fs::create_directories(path.parent_path(), error);
      require(!error, "{}: expected a folder to write to, got: {}", path.parent_path().string(), error.message());
      write_file_atomically(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    };
    if (!output.empty()) put(fs::path(output) / name, encode_png_indices(predicted_HW, label_palette()));
    if (!overlay.empty()) put(fs::path(overlay) / name, encode_png(label_overlay(image.pixels_HWC, predicted_HW)));
  }

  void report(const Confusion& confusion, const LoadedSegmenter& loaded, int64_t images) const {
    const auto iou_K = confusion.iou(), accuracy_K = confusion.class_accuracy(), pixels_K = confusion.counts().sum(1);
    std::vector<std::vector<std::string>> rows{{"class", "name", "IoU %", "accuracy %", "pixels"}};
    Json classes = Json::array();
    for (int64_t i = 0; i < loaded.classes; ++i) {
      const std::string name = loaded.class_names.empty() ? "" : loaded.class_names[static_cast<size_t>(i)];
      const auto iou = iou_K[i].item<double>(), accuracy = accuracy_K[i].item<double>();
      const auto pixels = pixels_K[i].item<int64_t>();
      rows.push_back({std::to_string(i), on_one_line(name), percent(iou), percent(accuracy), std::to_string(pixels)});
      classes.push_back(
          {{"class", i}, {"name", name}, {"iou", number(iou)}, {"accuracy", number(accuracy)}, {"pixels", pixels}});
    }
    if (!json.empty()) {
      const Json result{{"weights", weights},
                        {"images", images},
                        {"miou", number(confusion.mean_iou())},
                        {"macc", number(confusion.mean_accuracy())},
                        {"aacc", number(confusion.accuracy())},
                        {"classes", classes}};
      write_file_atomically(json, result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    }
    if (!runtime.quiet) fmt::print("{}", table(rows));
    log().info("{}: mIoU {}%, mAcc {}%, aAcc {}%; {} images of {} classes", weights, percent(confusion.mean_iou()),
               percent(confusion.mean_accuracy()), percent(confusion.accuracy()), images, loaded.classes);
  }
};

}  // namespace

Command segment_test_command() {
  return make_command<SegmentTest>("segment test", "Measure a segmentation, or write what it makes of images");
}

}  // namespace beit

#include "data/label_maps.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/error.h"
#include "data/list_file.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// What stands before the path of a source's image: the folder or archive; of a list or a single image, its folder.
std::string before_image(const fs::path& source, const std::string& path) {
  const auto slashed = [](std::string place) { return place.empty() || place.ends_with('/') ? place : place + '/'; };
  const std::string within = slashed(source.string());
  return path.starts_with(within) ? within : slashed(source.parent_path().string());
}

bool leaves(const fs::path& path) { return path.is_absolute() || std::ranges::find(path, "..") != path.end(); }

std::string label_path(const std::string& below) { return fs::path(below).replace_extension(".png").string(); }

void apply_rules_(const torch::Tensor& labels_HW, const LabelRules& rules, const std::string& path) {
  if (rules.reduce_zero_label) drop_zero_label_(labels_HW);
  auto* labels = labels_HW.mutable_data_ptr<uint8_t>();
  std::array<int64_t, 256> counts{};
  for (int64_t i = 0; i < labels_HW.numel(); ++i) {
    if (labels[i] == rules.ignore_label) labels[i] = kIgnoredLabel;
    ++counts[labels[i]];
  }
  for (int64_t label = rules.classes; label < kIgnoredLabel; ++label) {
    const int64_t pixels = counts[static_cast<size_t>(label)];
    require(pixels == 0,
            "{}: expected labels from 0 to {}, or {} for no class, got {}{} in {} pixels; where these are of no class "
            "set --ignore-label {}, else give --classes as many as there are",
            path, rules.classes - 1, kIgnoredLabel, label,
            rules.reduce_zero_label ? fmt::format(" (in the file {}, as 0 is no class)", label + 1) : "", pixels,
            label);
  }
}

}  // namespace

std::string path_below_source(const Dataset& images, int64_t index, std::span<const fs::path> sources) {
  require(std::ssize(sources) == images.sources(), "label maps: expected the {} sources of the images, got {}",
          images.sources(), sources.size());
  const fs::path& source = sources[static_cast<size_t>(images.source(index))];
  const std::string& path = images.path(index);
  const std::string before = before_image(source, path);
  std::string below = path.starts_with(before) ? path.substr(before.size()) : std::string();
  require(!below.empty() && !leaves(below),
          "{}: expected an image below its source {}, got one elsewhere; give the folder or archive of images itself",
          path, source.string());
  return below;
}

std::vector<std::string> label_paths(const Dataset& images, std::span<const fs::path> sources, bool one_place) {
  std::vector<std::string> paths;
  std::unordered_map<std::string, int64_t> seen;
  for (int64_t i = 0; i < images.size(); ++i) {
    paths.push_back(label_path(path_below_source(images, i, sources)));
    const auto key = one_place ? paths.back() : fmt::format("{}/{}", images.source(i), paths.back());
    const auto [first, fresh] = seen.emplace(key, i);
    require(fresh, "{}: expected a PNG file of its own, got {}, which is also that of {}; rename one of the images",
            images.path(i), paths.back(), images.path(first->second));
  }
  return paths;
}

LabelMaps::LabelMaps(const Dataset& images, std::span<const fs::path> sources, std::span<const fs::path> folders,
                     const LabelRules& rules)
    : images_(images), maps_(Dataset::open(folders)), rules_(rules) {
  require(rules.classes > 0 && rules.classes < 256, "label maps: expected 1 to 255 classes, got {}", rules.classes);
  require(folders.size() == sources.size(), "label maps: expected a folder for each of {} sources of images, got {}",
          sources.size(), folders.size());
  std::unordered_map<std::string, int64_t> places;
  for (int64_t i = 0; i < maps_.size(); ++i) {
    places.emplace(fmt::format("{}/{}", maps_.source(i), path_below_source(maps_, i, folders)), i);
  }
  int64_t missing = 0, first_missing = -1;
  const auto wanted = label_paths(images, sources, /*one_place=*/false);
  for (int64_t i = 0; i < images.size(); ++i) {
    const auto found = places.find(fmt::format("{}/{}", images.source(i), wanted[static_cast<size_t>(i)]));
    places_.push_back(found == places.end() ? -1 : found->second);
    if (found == places.end() && ++missing == 1) first_missing = i;
  }
  if (missing == 0) return;
  fail(
      "{}: expected its label map {}, got none there, as for {} of {} images; a label map has its image's path below "
      "--data, ending in .png: give --labels the folder that belongs to this --data, or rename",
      images.path(first_missing),
      (folders[static_cast<size_t>(images.source(first_missing))] / wanted[static_cast<size_t>(first_missing)])
          .string(),
      missing, images.size());
}

torch::Tensor LabelMaps::read(int64_t index, const ImageSize& image) const {
  const std::string& name = path(index);
  const auto labels_HW = decode_label_map(maps_.read(places_[static_cast<size_t>(index)]), name);
  require(
      labels_HW.size(0) == image.height && labels_HW.size(1) == image.width,
      "{}: expected a label map of its image's size, {} x {} (height x width) of {}, got {} x {}; give the one that "
      "was drawn on this image",
      name, image.height, image.width, images_.path(index), labels_HW.size(0), labels_HW.size(1));
  apply_rules_(labels_HW, rules_, name);
  return labels_HW;
}

}  // namespace beit

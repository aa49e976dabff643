// The label maps beside a data set's images, found by name.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/box.h"
#include "data/dataset.h"
#include "data/label_map.h"

namespace beit {

/// Where an image lies below the source that it is of: a folder's or archive's inner path, of a list the path below the
/// list's folder, of a single image its name. Slashes stand between names. `sources` are those that `images` was opened
/// from. Error for an image elsewhere, as a list or a pattern may name one.
std::string path_below_source(const Dataset& images, int64_t index, std::span<const std::filesystem::path> sources);

/// The same with the ending `.png`, of all images. Error where two images of `one_place`, which all sources share, or
/// else of one source, get the same.
std::vector<std::string> label_paths(const Dataset& images, std::span<const std::filesystem::path> sources,
                                     bool one_place);

/// What the pixels of label maps mean.
struct LabelRules {
  int64_t classes = 0;                   ///< labels are below it
  bool reduce_zero_label = false;        ///< as drop_zero_label_(), before all else
  int64_t ignore_label = kIgnoredLabel;  ///< of no class, as kIgnoredLabel
};

/// Thread-safe; the data set must outlive it.
class LabelMaps {
 public:
  /// `folders`: one for each of `sources`, a folder or an archive; an image's label map has the image's path below its
  /// source, ending in .png. Error where one is missing, with both names; as Dataset::open() and label_paths(); and for
  /// classes outside of 1 to 255.
  LabelMaps(const Dataset& images, std::span<const std::filesystem::path> sources,
            std::span<const std::filesystem::path> folders, const LabelRules& rules);

  /// Of the image with that number.
  const std::string& path(int64_t index) const { return maps_.path(places_[static_cast<size_t>(index)]); }

  /// Labels in [0, classes) or kIgnoredLabel. Error, naming the file, where it is no label map (decode_label_map()),
  /// has another size than the image, or a label that is no class.
  torch::Tensor read(int64_t index, const ImageSize& image) const;

  /// Whether a label map lies in this file, or is it.
  bool holds(const std::filesystem::path& file) const { return maps_.holds(file); }

 private:
  const Dataset& images_;
  Dataset maps_;
  std::vector<int64_t> places_;  ///< in maps_, of each image
  LabelRules rules_;
};

}  // namespace beit

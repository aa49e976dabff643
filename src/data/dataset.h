// Which images there are: an index of folders and tar archives, and the bytes of each image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tar.h"

namespace beit {

/// The images of one or several sources, sorted by path (bytewise), numbered from 0. Only the index is held in memory.
/// A source is a folder, a tar archive or a single image. What lies in folders must end in .jpg, .jpeg, .png, .webp,
/// .gif or .bmp, in any case, and not start with a dot; symbolic links are followed. An image's class is the folder (of
/// the disk or the archive) that holds it; the images of a source without inner folders have no class. Classes of one
/// name are one class. Thread-safe; copies share open archives.
class Dataset {
 public:
  /// Error where a source is missing, unreadable, of another kind, holds no image, or has images both beside and in
  /// class folders; where there is no source.
  static Dataset open(std::span<const std::filesystem::path> sources);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }

  /// As it was given, or `<archive>/<member>`.
  const std::string& path(int64_t index) const { return entries_[static_cast<size_t>(index)].path; }

  /// The class's place in classes(); -1 without class.
  int64_t label(int64_t index) const { return entries_[static_cast<size_t>(index)].label; }

  /// Names, sorted bytewise.
  const std::vector<std::string>& classes() const { return classes_; }

  /// Bytes of the encoded image; 0 where its file is gone.
  int64_t bytes(int64_t index) const;

  /// The encoded image. Error naming the path.
  std::vector<uint8_t> read(int64_t index) const;

 private:
  struct Entry {
    std::string path = {};
    int64_t label = -1;
    std::shared_ptr<const TarFile> archive = nullptr;  ///< none: a file of its own
    int64_t offset = 0, size = 0;                      ///< in the archive
  };

  struct Found {
    Entry entry;
    std::string folder;  ///< the class's name; empty without
  };
  static std::vector<Found> list_source(const std::filesystem::path& source);

  std::vector<Entry> entries_;
  std::vector<std::string> classes_;
};

}  // namespace beit

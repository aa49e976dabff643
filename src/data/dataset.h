// Which images there are: an index of folders, lists and tar archives, and the bytes of each image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/label.h"
#include "data/tar.h"

namespace beit {

/// The bytes of an image that is a file of its own. Error naming the path.
std::vector<uint8_t> read_image_file(const std::string& path);

/// The images of one or several sources, sorted by path (bytewise), numbered from 0. Only the index is held in memory;
/// archives are held open. Thread-safe; copies share archives. A source is one of:
/// - a folder of images: what lies in it ends as image_path.h says, in any case, and does not start with a
///   dot; symbolic links are followed. The folder that holds an image is its class; without inner folders, no class.
/// - a list of images (list_file.h).
/// - a tar archive, in WebDataset's naming or with class folders (shard.h); beside a packed one lies its index
///   (shard_index.h), which is read in its place.
/// - a folder of tar archives, or a pattern for paths of any kind (path_pattern.h).
/// - a single image.
/// Classes have names in all sources, and then classes of one name are one class; or numbers in all. Sources of both
/// kinds serve where no class is asked for.
class Dataset {
 public:
  /// Error where a source is missing, unreadable, of another kind, holds no image, has images both beside and in class
  /// folders, or lacks shards of a packed set that it has others of; where an archive and its index disagree; where
  /// there is no source.
  static Dataset open(std::span<const std::filesystem::path> sources);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }

  /// Of a file: as it was given, in a folder that was given, or as a list names it, where it is relative joined to the
  /// list's folder. Of an archive's image: `<archive>/<member>`.
  const std::string& path(int64_t index) const { return entry(index).path; }

  /// The class's place in classes(); -1 without class, and where some classes are names and some numbers.
  int64_t label(int64_t index) const { return entry(index).label; }

  /// Names, sorted bytewise; where classes are numbers, their decimal text, from 0 to the largest. Error where some are
  /// names and some numbers.
  const std::vector<std::string>& classes() const;
  bool numbered_classes() const { return !classes().empty() && numbered_classes_; }

  /// How many sources were given, and which of them, from 0, an image is of.
  int64_t sources() const { return sources_; }
  int64_t source(int64_t index) const { return entry(index).source; }

  /// The archive that an image lies in, from 0, and where its bytes begin there; -1 and 0: a file of its own.
  int64_t archive(int64_t index) const { return entry(index).archive; }
  int64_t offset(int64_t index) const { return entry(index).offset; }

  /// Bytes of the encoded image; 0 where its file is gone.
  int64_t bytes(int64_t index) const;

  /// The encoded image. Error naming the path; where an index states the checksum and the bytes have another one, with
  /// the offset.
  std::vector<uint8_t> read(int64_t index) const;

  /// Whether an image lies in this file, or is it.
  bool holds(const std::filesystem::path& file) const;

  /// Has the system fetch an archive's bytes of the image in the background, as they are read soon. Of a file of its
  /// own it does nothing.
  void prefetch(int64_t index) const;

 private:
  struct Entry {
    std::string path = {};
    int64_t label = -1;
    int32_t source = 0;
    int32_t archive = -1;
    int64_t offset = 0, size = 0;  ///< in the archive
    std::optional<uint32_t> crc32 = std::nullopt;
  };
  class Listing;

  const Entry& entry(int64_t index) const { return entries_[static_cast<size_t>(index)]; }

  std::vector<Entry> entries_;
  std::vector<std::shared_ptr<const TarFile>> archives_;
  std::vector<std::string> classes_;
  std::string two_kinds_;  ///< why there are no classes
  bool numbered_classes_ = false;
  int64_t sources_ = 0;
};

}  // namespace beit

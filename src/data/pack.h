// Packs images into shards: tar archives in WebDataset's naming, each with an index beside it (docs/FORMATS.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace beit {

struct PackOptions {
  std::string name = "shard";                ///< of the set: NAME-000000.tar
  int64_t shard_images = 10'000;             ///< at most
  int64_t shard_bytes = int64_t{256} << 20;  ///< at most, but for a single larger image
  bool shuffle = true;                       ///< a random order of (seed), the same in each packing; else the dataset's
  uint64_t seed = 0;
  bool skip_damaged = false;  ///< leave out images that do not decode; else the first is an Error
  int64_t workers = 2;        ///< threads, a shard each
};

struct Packed {
  int64_t shards = 0, kept_shards = 0;    ///< all of them; those that were there before
  int64_t images = 0, bytes = 0;          ///< in all shards; of the encoded images
  std::vector<std::string> damaged = {};  ///< why each image was left out, in the packed order
};

/// Writes a file in one piece: hands `writer` a sink for its bytes, and only then lets the file appear
/// (io/atomic_file).
using ByteSink = std::function<void(std::string_view bytes)>;
using FileWriter =
    std::function<void(const std::filesystem::path& path, const std::function<void(const ByteSink& sink)>& writer)>;

/// Packs every image, encoded as it is, into `folder`, which exists. The same images and options make the same shards
/// to the byte. A shard that is there already is kept where it is what would be written; so a packing that was cut off
/// goes on. `progress` is called after each image, by one thread at a time, with the number done; false ends the work
/// with an Error. Whatever happens, each archive is there whole and with its index, or not at all; an index may remain
/// whose archive did not come to be, which readers pass over and the next packing writes again.
/// Error: a class whose name is not UTF-8, before anything is written; an image that cannot be read or does not decode;
/// shards of this name with other content, also of a larger set; what the writer throws.
Packed pack_images(const Dataset& dataset, const std::filesystem::path& folder, const PackOptions& options,
                   const FileWriter& write_file, const std::function<bool(int64_t done)>& progress);

}  // namespace beit

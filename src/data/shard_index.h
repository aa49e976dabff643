// The index beside a packed shard (docs/FORMATS.md): where each image lies, so that nobody walks the archive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/shard.h"
#include "data/tar.h"

namespace beit {

struct ShardIndex {
  std::string name;                                                ///< of the set
  int64_t shard = 0, shards = 1;                                   ///< which of the set's
  int64_t archive_bytes = 0;                                       ///< all of it
  uint32_t archive_crc32 = 0;                                      ///< of all but the closing seal
  std::optional<std::vector<std::string>> classes = std::nullopt;  ///< of the whole set; none: classes are numbers
  std::vector<ShardImage> images = {};  ///< by offset; labels are names where there are classes
};

/// A packed archive ends, after tar's own closing blocks, in a block that says what stands before it: an index can be
/// told to belong to it whatever the files' times and names.
inline constexpr int64_t kSealBytes = 512;
std::string shard_seal(int64_t bytes_before, uint32_t crc32_before);

/// `<archive>.index.json`
std::filesystem::path index_path(const std::filesystem::path& archive);

/// Whether an index can hold the text: it is UTF-8.
bool is_index_text(const std::string& text);

/// All texts are UTF-8.
std::string to_json(const ShardIndex& index);

/// Of an archive of so many bytes: they bound the index's. Error, naming the file and what is wrong in it, unless it is
/// such an index, whole and consistent in itself.
ShardIndex read_shard_index(const std::filesystem::path& path, int64_t archive_bytes);

/// Error unless the archive is the one that the index was written for. Reads one block.
void require_same_shard(const TarFile& archive, const ShardIndex& index);

}  // namespace beit

// The images of a tar archive and their classes: in WebDataset's naming, or in class folders.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/label.h"
#include "data/tar.h"

namespace beit {

struct ShardImage {
  std::string name;                              ///< of the member
  Label label = {};                              ///< as stated in the archive; none in a class folder
  int64_t offset = 0, size = 0;                  ///< of its bytes in the archive
  std::optional<uint32_t> crc32 = std::nullopt;  ///< of the bytes, where it is known
};

struct ShardImages {
  std::vector<ShardImage> images;  ///< in the archive's order
  bool labelled = false;           ///< in WebDataset's naming with classes: folders are no classes
};

/// The members of one sample share a key, what stands before the first dot of the last name, with its folders; what
/// follows the dot says what a member is (WebDataset). `KEY.jpg` (or another of image_path.h's endings) is the image;
/// `KEY.cls` holds its class, a number from 0 or -1; without any of these, `KEY.json` may hold it as `label` or `cls`,
/// a number or a name. An archive in which no image has a class of this kind holds class folders or loose images, which
/// end as is_image_path() has it. Error, naming archive, member and offset, where a class is something else, no `.cls`
/// has an image, or a key has two images or two classes; Error as TarFile::members().
ShardImages list_shard(const TarFile& archive);

}  // namespace beit

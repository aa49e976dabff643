// Zip archives as PyTorch writes them: a directory, and members that lie in the file as they are.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/allowance.h"

namespace beit {

struct ZipMember {
  std::string_view name;  ///< points into the file
  uint64_t header = 0;    ///< offset of its local header
  uint64_t begin = 0;     ///< offset of its bytes
  uint64_t size = 0;      ///< bytes in the file
  bool stored = true;     ///< neither compressed nor encrypted
};

/// The directory of one archive, zip or zip64. Nothing is unpacked, checksums are not compared.
class ZipDirectory {
 public:
  /// Reads the directory at the end of `bytes`, which must outlive it; `file` names them in errors. Error, which names
  /// file, entry and offset: no archive or a part of one, entries that reach out of the file or overlap, a name that
  /// comes twice, headers that contradict one another.
  ZipDirectory(std::span<const uint8_t> bytes, std::string file, Allowance& allowance);

  /// Sorted by name.
  const std::vector<ZipMember>& members() const { return members_; }

  /// Null where no member has that name; error where it is compressed or encrypted.
  const ZipMember* find(std::string_view name) const;

 private:
  std::string file_;
  std::vector<ZipMember> members_;
};

}  // namespace beit

// Tar archives, read in place: ustar, GNU and pax forms, not compressed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace beit {

struct TarMember {
  std::string name;
  int64_t offset = 0;  ///< of its bytes in the archive
  int64_t size = 0;    ///< bytes
};

/// An open archive. Reading is thread-safe; the file must not change meanwhile.
class TarFile {
 public:
  /// Error where the file cannot be opened.
  explicit TarFile(const std::filesystem::path& path);
  ~TarFile();
  TarFile(const TarFile&) = delete;
  TarFile& operator=(const TarFile&) = delete;

  /// All regular files in the archive's order; a hard link stands in its place, with the bytes of the file it names.
  /// Error, naming the offset, where a header is damaged, a member leaves the file, or the closing block of zeros is
  /// missing, as in a truncated archive; Error where a hard link names no file of the archive.
  std::vector<TarMember> members() const;

  /// The bytes at [offset, offset + size); Error where the file ends before.
  std::vector<uint8_t> read(int64_t offset, int64_t size) const;

  /// Tells the system that these bytes are read soon, so that it fetches them in the background.
  void prefetch(int64_t offset, int64_t size) const;

  const std::string& name() const { return name_; }
  int64_t bytes() const { return size_; }

 private:
  std::string name_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// Whether the file's first block is a tar header.
bool is_tar(const std::filesystem::path& path);

}  // namespace beit

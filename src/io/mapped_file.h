// A file as bytes in memory: what every reader of this level starts from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace beit {

/// A private mapping of a regular file. Whoever holds the pointer keeps the bytes alive; the file's name may be
/// replaced or removed meanwhile, but a file that another program shortens in place ends the process (SIGBUS).
/// Writing to the bytes changes this process's copy only. Reading is thread-safe.
class MappedFile {
 public:
  /// Error where the file is missing, unreadable or no regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<uint8_t> bytes() const { return bytes_; }
  /// The path as given, for error messages.
  const std::string& name() const { return name_; }

 private:
  MappedFile(std::string name, std::span<uint8_t> bytes) : name_(std::move(name)), bytes_(bytes) {}

  std::string name_;
  std::span<uint8_t> bytes_;
};

/// A name that came out of a file, fit for a one-line message: in quotes, shortened, control characters as '?'.
std::string printable(std::string_view name);

}  // namespace beit

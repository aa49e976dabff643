// A folder that one process at a time writes to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace beit {

class OutputFolder {
 public:
  /// Creates the folder if need be, and holds it until its own end; the file `.process` in it says meanwhile who does.
  /// Error where that or writing into it is not allowed, and where another process holds it, which is named.
  explicit OutputFolder(std::filesystem::path folder);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;     // descriptor of the folder, locked
  int process_ = -1;  // of the file that names this process, locked
};

/// Who writes into a folder. What the process could not say of itself is empty or 0.
struct FolderHolder {
  int64_t process = 0;  ///< its number on that host
  std::string host = {};
  std::string command = {};  ///< as typed
  int64_t started = 0;       ///< seconds since 1970
};

/// Of a folder that a live process holds now. Takes no lock, so that nobody is disturbed.
std::optional<FolderHolder> holder_of(const std::filesystem::path& folder);

/// "process 4711 on host X (`beit pretrain ...`) since 2026-01-31 12:00:00 UTC".
std::string readable(const FolderHolder& holder);

}  // namespace beit

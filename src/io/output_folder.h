// A folder that one process at a time writes to.
#pragma once

#include <filesystem>

namespace beit {

class OutputFolder {
 public:
  /// Creates the folder if need be, and holds it until its own end. Error where that or writing into it is not allowed,
  /// and where another process holds it.
  explicit OutputFolder(std::filesystem::path folder);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;  // descriptor of the folder, locked
};

}  // namespace beit

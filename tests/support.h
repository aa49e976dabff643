// What tests share: golden files, data beside the repository, temporary folders.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace beit {

/// The repository.
std::filesystem::path source_folder();

/// The program `beit`, as a test of its command line starts it.
std::filesystem::path program();

/// tests/golden/<name>
std::filesystem::path golden(const std::string& name);

/// <name> in the folder `shared` beside the repository; prints why the test is skipped where it is absent.
std::optional<std::filesystem::path> shared_file(const std::string& name);

/// <name> under .deps, what set-up fetched; prints why the test is skipped where it is absent.
std::optional<std::filesystem::path> fetched_file(const std::string& name);

/// <name> in the folder BEIT_PARITY, which tests/python/oracle.sh fills; prints why the test is skipped without it.
std::optional<std::filesystem::path> oracle_file(const std::string& name);

/// A folder that lives as long as this object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path path;
};

}  // namespace beit

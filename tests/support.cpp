#include "tests/support.h"

#include <fmt/format.h>
#include <stdlib.h>

#include "base/error.h"

namespace beit {
namespace {

std::optional<std::filesystem::path> if_present(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) return path;
  fmt::print("skipped: {} is not there\n", path.lexically_normal().string());
  return std::nullopt;
}

std::filesystem::path new_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "beit-test-XXXXXX").string();
  require(mkdtemp(name.data()) != nullptr, "tests: cannot make a temporary folder {}", name);
  return name;
}

}  // namespace

std::filesystem::path source_folder() { return BEIT_SOURCE_DIR; }

std::filesystem::path program() { return BEIT_PROGRAM; }

std::filesystem::path golden(const std::string& name) { return source_folder() / "tests/golden" / name; }

std::optional<std::filesystem::path> shared_file(const std::string& name) {
  return if_present(source_folder() / "../shared" / name);
}

std::optional<std::filesystem::path> fetched_file(const std::string& name) {
  return if_present(std::filesystem::path(BEIT_DEPS_DIR) / name);
}

std::optional<std::filesystem::path> oracle_file(const std::string& name) {
  if (const char* folder = std::getenv("BEIT_PARITY")) return std::filesystem::path(folder) / name;
  fmt::print("skipped: the comparison with PyTorch needs the variable BEIT_PARITY\n");
  return std::nullopt;
}

TemporaryFolder::TemporaryFolder() : path(new_folder()) {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace beit

#include "base/version.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "tests/support.h"

namespace beit {
namespace {

TEST_CASE("version: the changelog's newest entry is of this version, with a date") {
  std::ifstream changelog(source_folder() / "CHANGELOG.md");
  std::string line;
  while (std::getline(changelog, line) && (!line.starts_with("## [") || line.starts_with("## [Unreleased]"))) continue;
  const std::string expected = "## [" + std::string(version()) + "] - 20";
  CHECK_MESSAGE(line.starts_with(expected), line, " is not ", expected, "..");
}

}  // namespace
}  // namespace beit

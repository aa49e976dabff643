// The structure itself: which part may include which.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support.h"

namespace beit {
namespace {

using Names = std::set<std::string>;

/// What follows `#include` in a file, with its quotes or angle brackets.
std::vector<std::string> includes_of(const std::filesystem::path& file) {
  static const std::regex pattern(R"(^\s*#\s*include\s*([<"][^>"]+[>"]).*)");
  std::vector<std::string> includes;
  std::ifstream stream(file);
  std::smatch match;
  for (std::string line; std::getline(stream, line);) {
    if (std::regex_match(line, match, pattern)) includes.push_back(match[1]);
  }
  return includes;
}

/// Calls visit(level, path, include) for each include in src.
template <class Visit>
void for_each_include(const std::filesystem::path& source, Visit visit) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source)) {
    const auto extension = entry.path().extension();
    if (extension != ".cpp" && extension != ".h") continue;
    const std::string level = entry.path().lexically_relative(source).begin()->string();
    for (const std::string& include : includes_of(entry.path())) visit(level, entry.path().string(), include);
  }
}

/// The levels that each level may include beside itself.
const std::map<std::string, Names> kBelow = {
    {"base", {}},
    {"core", {"base"}},
    {"io", {"base"}},
    {"data", {"base"}},
    {"viz", {"base"}},
    {"train", {"base", "core", "io", "data", "viz"}},
    {"serve", {"base", "core", "io", "data", "viz", "train"}},
    {"cli", {"base", "core", "io", "data", "viz", "train", "serve"}},
};

TEST_CASE("levels: no file includes upward or sideways") {
  int seen = 0;
  for_each_include(
      source_folder() / "src", [&](const std::string& level, const std::string& path, const std::string& include) {
        CAPTURE(path);
        CAPTURE(include);
        REQUIRE(kBelow.contains(level));
        ++seen;
        if (include.front() != '"') return;
        const auto slash = include.find('/');
        CHECK_MESSAGE(slash != std::string::npos, "includes of our own are written from src: \"level/name.h\"");
        const std::string other = include.substr(1, slash - 1);
        CHECK_MESSAGE(kBelow.contains(other), "not a level: ", other);
        CHECK_MESSAGE((other == level || kBelow.at(level).contains(other)), level, " must not include ", other);
      });
  CHECK(seen > 0);
}

TEST_CASE("levels: core knows no files, no clock, no printing and no process group") {
  const Names refused = {"<chrono>", "<cstdio>", "<ctime>", "<filesystem>", "<fstream>", "<iostream>", "<unistd.h>"};
  for_each_include(source_folder() / "src",
                   [&](const std::string& level, const std::string& path, const std::string& include) {
                     if (level != "core") return;
                     CHECK_MESSAGE(!refused.contains(include), path, " includes ", include);
                     CHECK_MESSAGE(include.find("c10d") == std::string::npos, path, " includes ", include);
                   });
}

}  // namespace
}  // namespace beit

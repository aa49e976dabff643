// The configuration file: TOML with keys at the top and in sections; numbers, true and false, texts and lists of texts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <string>
#include <vector>

namespace beit {

/// One `key = value` of the file.
struct Setting {
  std::string section;  ///< empty at the top
  std::string key;
  std::vector<std::string> words;  ///< the value, or the list's values
  int64_t line = 0;                ///< from 1
};

/// In the file's order. Errors name file and line: what is neither key nor section, a key set twice in a section,
/// quotes or brackets that do not end, a backslash outside single quotes or at a text's end (texts have no escapes).
std::vector<Setting> read_settings(const std::filesystem::path& path);
/// Of a text, which errors call `name`.
std::vector<Setting> read_settings(std::istream& text, const std::string& name);

}  // namespace beit

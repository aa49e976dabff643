#include "cli/settings.h"

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace beit {
namespace {

/// Joins the lines of a list and leaves out comments and needless blanks, all of which CLI11 2.1 misreads inside texts
/// and around commas.
class CleanLine {
 public:
  /// Adds a line of the file.
  void add(const std::string& line, const std::string& where) {
    char quote = 0;
    bool blank = false;
    for (size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      require(c != '\\' || (quote == '\'' && line.find('\'', i) != i + 1),
              "{}: expected no backslash but within single quotes, got {}; texts have no escapes", where, line);
      if (quote == 0 && c == '#') break;
      if (quote == 0 && (c == ' ' || c == '\t' || c == '\r')) {
        blank = true;
        continue;
      }
      if (blank && !text_.empty() && !is_mark(text_.back()) && !is_mark(c)) text_ += ' ';
      blank = false;
      text_ += c;
      if (quote != 0) {
        quote = c == quote ? 0 : quote;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '[' || c == ']') {
        depth_ += c == '[' ? 1 : -1;
      }
    }
    require(quote == 0, "{}: expected a text that ends with {}, got {}", where, quote, line);
  }

  bool complete() const { return depth_ <= 0; }
  const std::string& text() const { return text_; }

 private:
  static bool is_mark(char c) { return c == '=' || c == ',' || c == '[' || c == ']'; }

  std::string text_;
  int depth_ = 0;  // of brackets
};

}  // namespace

std::vector<Setting> read_settings(const std::filesystem::path& path) {
  std::ifstream file(path);
  require(file.good() && !std::filesystem::is_directory(path),
          "{}: expected a configuration file, got none that can be read", path.string());
  return read_settings(file, path.string());
}

std::vector<Setting> read_settings(std::istream& file, const std::string& name) {
  std::vector<Setting> settings;
  std::map<std::pair<std::string, std::string>, int64_t> lines;  // where each key was set
  std::string section, line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    const int64_t first = number;
    const std::string where = fmt::format("{}:{}", name, first);
    CleanLine clean;
    clean.add(line, where);
    while (!clean.complete() && std::getline(file, line)) clean.add(line, fmt::format("{}:{}", name, ++number));
    const std::string& text = clean.text();
    require(clean.complete(), "{}: expected a list or section that ends with ], got {:.60}", where, text);
    if (text.empty()) continue;
    if (text.front() == '[' && text.back() == ']') {
      section = text.substr(1, text.size() - 2);
      require(!section.empty(), "{}: expected a section's name, got []", where);
      continue;
    }
    std::istringstream stream(text);
    CLI::ConfigTOML reader;
    const auto items = reader.comment('\0')->from_config(stream);
    require(text.find('=') != std::string::npos && items.size() == 1 && !items[0].name.empty(),
            "{}: expected `key = value` or `[section]`, got {:.60}", where, text);
    const std::string key = items[0].fullname();
    const auto [before, added] = lines.try_emplace({section, key}, first);
    require(added, "{}: expected each key once, got '{}' again, which line {} sets", where, key, before->second);
    settings.push_back({section, key, items[0].inputs, first});
  }
  return settings;
}

}  // namespace beit

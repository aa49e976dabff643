#include "cli/class_choice.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "cli/args.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRemedy = "name the outputs in their order by --class-names FILE";

/// Digits only: a number from 0.
std::optional<int64_t> whole_number(std::string_view text) {
  int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = error == std::errc() && end == text.data() + text.size() && text.front() != '-';
  return is_whole ? std::optional(number) : std::nullopt;
}

class Outputs {
 public:
  explicit Outputs(const std::vector<std::string>& names) : names_(names) {
    for (size_t i = 0; i < names.size(); ++i) places_[names[i]].push_back(static_cast<int64_t>(i));
  }

  bool has(const std::string& name) const { return places_.contains(name); }

  /// Error unless exactly one output has the name.
  int64_t of(const std::string& name, std::string_view where) const {
    const auto found = places_.find(name);
    if (found == places_.end()) {
      fail("{}: expected a class that the model knows, got '{}'; the nearest is '{}'. Are these its names? Else {}",
           where, on_one_line(name), on_one_line(nearest(name, names_)), kRemedy);
    }
    const auto& places = found->second;
    require(places.size() == 1, "{}: expected a name of one output, got '{}', which outputs {} share; {}", where,
            on_one_line(name), fmt::join(places, " and "), kRemedy);
    return places.front();
  }

 private:
  const std::vector<std::string>& names_;
  std::unordered_map<std::string, std::vector<int64_t>> places_;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

/// Of digits.
int64_t output_of_number(const std::string& digits, int64_t outputs, std::string_view where) {
  const int64_t number = whole_number(digits).value_or(outputs);
  require(number < outputs, "{}: expected numbers below the model's {} outputs, got {}; is this the data's model?",
          where, outputs, digits);
  return number;
}

}  // namespace

std::vector<std::string> read_class_names(const fs::path& path) {
  constexpr uintmax_t kMostBytes = 64 << 20;
  constexpr size_t kLongest = 1000;
  std::error_code failed;
  const bool is_file = fs::is_regular_file(path, failed);
  std::ifstream file(path, std::ios::binary);
  require(is_file && file.good(), "{}: expected a file with the names of classes, got {}", path.string(),
          is_file                    ? "one that cannot be read"
          : fs::exists(path, failed) ? "no file"
                                     : "nothing there");
  const auto bytes = fs::file_size(path, failed);
  require(!failed && bytes <= kMostBytes, "{}: expected names of at most {} bytes, got {}", path.string(), kMostBytes,
          bytes);
  std::vector<std::string> names;
  int64_t empty = 0;  // the first empty line since the last name
  std::string text;
  for (int64_t number = 1; std::getline(file, text); ++number) {
    std::string_view line = text;
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    line = trimmed(line);
    if (line.empty()) {
      if (empty == 0) empty = number;
      continue;
    }
    require(empty == 0, "{}:{}: expected a class's name, got an empty line; names would be counted wrongly",
            path.string(), empty);
    std::string name(line);
    require(name.size() <= kLongest && on_one_line(name) == name,
            "{}:{}: expected a class's name, a text of at most {} bytes, got '{:.80}'", path.string(), number, kLongest,
            on_one_line(name));
    names.push_back(std::move(name));
  }
  require(!file.bad(), "{}: expected names of classes, got a read error", path.string());
  require(!names.empty(), "{}: expected names of classes, one a line, got none", path.string());
  return names;
}

ClassMatch match_classes(const std::vector<std::string>& classes, const std::vector<std::string>& names,
                         int64_t outputs) {
  require(!classes.empty(), "classes: expected images with classes, got none; put them into folders, one a class");
  ClassMatch match{.names = names};
  if (names.empty()) {
    for (int64_t i = 0; i < outputs; ++i) match.names.push_back(std::to_string(i));
  }
  const Outputs known(names);
  const bool all_known = std::ranges::all_of(classes, [&](const std::string& name) { return known.has(name); });
  const bool all_numbers =
      std::ranges::all_of(classes, [](const std::string& name) { return whole_number(name).has_value(); });
  if (!all_known && all_numbers) {
    for (const std::string& digits : classes) match.outputs.push_back(output_of_number(digits, outputs, "classes"));
    match.by = "by number";
  } else if (!names.empty()) {
    for (const std::string& name : classes) match.outputs.push_back(known.of(name, "classes"));
    match.by = "by name";
  } else {
    require(std::ssize(classes) == outputs,
            "classes: expected as many as the model's {} outputs, whose names it does not tell, got {}; {}", outputs,
            classes.size(), kRemedy);
    match.names = classes;
    match.outputs.resize(classes.size());
    std::iota(match.outputs.begin(), match.outputs.end(), 0);
    match.by = "in sorted order, as the model tells no names";
  }
  return match;
}

std::vector<int64_t> read_subset(const fs::path& path, const std::vector<std::string>& names) {
  const auto outputs = std::ssize(names);
  const Outputs known(names);
  std::set<int64_t> subset;
  for (const std::string& word : read_class_names(path)) {
    const bool is_number = !known.has(word) && whole_number(word).has_value();
    subset.insert(is_number ? output_of_number(word, outputs, path.string()) : known.of(word, path.string()));
  }
  require(subset.size() > 1, "{}: expected two classes at least, got one", path.string());
  return {subset.begin(), subset.end()};
}

}  // namespace beit

#include "data/path_pattern.h"

#include <charconv>
#include <cstdint>
#include <optional>

#include "base/error.h"

namespace beit {
namespace {

constexpr int64_t kMostPaths = 1'000'000;

std::optional<int64_t> whole_number(std::string_view digits) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || stop != digits.data() + digits.size() || value < 0) return std::nullopt;
  return value;
}

// What stands between two braces; nothing where it is neither a range nor a choice.
std::optional<std::vector<std::string>> expand_braces(std::string_view inner) {
  std::vector<std::string> texts;
  if (const auto dots = inner.find(".."); dots != std::string_view::npos) {
    const auto first = whole_number(inner.substr(0, dots)), last = whole_number(inner.substr(dots + 2));
    if (!first || !last || *last < *first || *last - *first >= kMostPaths) return std::nullopt;
    const size_t width = inner.starts_with('0') ? dots : 1;
    for (int64_t i = *first; i <= *last; ++i) texts.push_back(fmt::format("{:0{}}", i, width));
    return texts;
  }
  if (inner.find(',') == std::string_view::npos) return std::nullopt;
  for (size_t at = 0; at != std::string_view::npos;) {
    const auto comma = inner.find(',', at);
    texts.emplace_back(inner.substr(at, comma - at));
    at = comma == std::string_view::npos ? comma : comma + 1;
  }
  return texts;
}

}  // namespace

std::vector<std::string> expand_pattern(std::string_view text) {
  std::vector<std::string> paths{""};
  std::string_view rest = text;
  for (auto open = rest.find('{'); open != std::string_view::npos; open = rest.find('{')) {
    const auto close = rest.find('}', open);
    const auto choices =
        close == std::string_view::npos ? std::nullopt : expand_braces(rest.substr(open + 1, close - open - 1));
    require(choices.has_value(), "{}: expected braces like {{000..012}} or {{a,b}}, got others", text);
    require(std::ssize(paths) * std::ssize(*choices) <= kMostPaths, "{}: expected at most {} paths, got more", text,
            kMostPaths);
    std::vector<std::string> longer;
    for (const auto& path : paths) {
      for (const auto& choice : *choices) longer.push_back(path + std::string(rest.substr(0, open)) + choice);
    }
    paths = std::move(longer);
    rest.remove_prefix(close + 1);
  }
  for (auto& path : paths) path += rest;
  return paths;
}

}  // namespace beit

#include "data/image_path.h"

#include <algorithm>
#include <array>

namespace beit {

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string_view without_dot_slash(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  return path;
}

std::string_view folder_name(std::string_view path) {
  const auto last = path.rfind('/');
  return last == std::string_view::npos ? std::string_view() : base_name(path.substr(0, last));
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return lower;
}

bool is_image_ending(std::string_view ending) {
  constexpr std::array<std::string_view, 6> kEndings{"jpg", "jpeg", "png", "webp", "gif", "bmp"};
  return std::ranges::find(kEndings, ending) != kEndings.end();
}

bool has_image_ending(std::string_view name) {
  constexpr size_t kLongest = 5;  // letters, the dot among them
  const auto tail = name.substr(name.size() - std::min(name.size(), kLongest));
  const auto dot = tail.rfind('.');
  return dot != std::string_view::npos && is_image_ending(lower_case(tail.substr(dot + 1)));
}

bool is_image_path(std::string_view path) {
  const auto name = base_name(path);
  return !name.starts_with('.') && has_image_ending(name);
}

}  // namespace beit

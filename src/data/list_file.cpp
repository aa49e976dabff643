#include "data/list_file.h"

#include <fstream>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "data/image_path.h"

namespace beit {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::string_view kSeparators = "\t, ";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

bool is_header(std::string_view line) {
  const std::string lower = lower_case(line);
  return lower == "path" || (lower.starts_with("path") && lower.size() == 10 && lower.ends_with("label") &&
                             kSeparators.find(lower[4]) != std::string_view::npos);
}

struct Split {
  std::string_view path, label;
};

// The path ends where an image's ending stands before the line's end or a separator; the last such place counts, so
// that paths may hold separators. One pass, however long the line is.
std::optional<Split> split(std::string_view line) {
  size_t name = 0, end = 0;                  // where the path's last name begins; where it ends, without blanks
  size_t path_end = 0, label = line.size();  // of the last such place
  for (size_t at = 0; at <= line.size(); ++at) {
    const bool is_end = at == line.size();
    if (is_end || kSeparators.find(line[at]) != std::string_view::npos) {
      const auto last = line.substr(name, end - name);
      if (!last.starts_with('.') && has_image_ending(last)) {
        path_end = end;
        label = is_end ? at : at + 1;
      }
    }
    if (is_end) break;
    if (line[at] == '/') name = at + 1;
    if (kBlanks.find(line[at]) == std::string_view::npos) end = at + 1;
  }
  if (path_end == 0) return std::nullopt;
  return Split{line.substr(0, path_end), trimmed(line.substr(label))};
}

}  // namespace

bool is_list_file(const std::filesystem::path& path) {
  const std::string ending = lower_case(path.extension().string());
  return ending == ".txt" || ending == ".tsv" || ending == ".csv" || ending == ".lst";
}

std::vector<ListedImage> read_list_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  require(file.good(), "{}: expected a list of images that can be read, got none; check its rights", path.string());
  std::vector<ListedImage> images;
  std::unordered_map<std::string, int64_t> lines;
  int64_t first_labelled = 0;  // line
  bool numbers = false;
  std::string text;
  for (int64_t number = 1; std::getline(file, text); ++number) {
    const std::string where = fmt::format("{}:{}", path.string(), number);
    std::string_view line = text;
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    line = trimmed(line);
    if (line.empty() || (number == 1 && is_header(line))) continue;
    const auto parts = line.find('\0') == std::string_view::npos ? split(line) : std::nullopt;
    require(parts.has_value(),
            "{}: expected the path of an image (ending {}), then a tab, comma or space and its class, got '{:.80}'{}",
            where, kImageEndings, line, number == 1 ? "; a first line of names is path,label" : "");
    Label label = parse_label(parts->label, where);
    if (label.is_number() || label.is_name()) {
      if (first_labelled == 0) {
        first_labelled = number;
        numbers = label.is_number();
      }
      require(numbers == label.is_number(), "{}: expected a class by {} as in line {}, got '{}'", where,
              numbers ? "number" : "name", first_labelled, parts->label);
    }
    const auto [before, is_new] = lines.try_emplace(std::string(parts->path), number);
    require(is_new, "{}: expected each image once, got '{}' again, which line {} lists", where, parts->path,
            before->second);
    images.push_back({std::string(parts->path), std::move(label)});
  }
  require(!file.bad(), "{}: expected a list of images, got a read error", path.string());
  return images;
}

}  // namespace beit

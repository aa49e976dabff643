#include "cli/table.h"

#include <algorithm>

#include "base/error.h"

namespace beit {
namespace {

/// Letters, of which UTF-8 writes some as several bytes.
size_t letters(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }));
}

}  // namespace

std::string readable_bytes(int64_t bytes) {
  const auto number = static_cast<double>(bytes);
  if (bytes < 1'000'000) return fmt::format("{:.1f} kB", number / 1e3);
  if (bytes < 1'000'000'000) return fmt::format("{:.1f} MB", number / 1e6);
  if (bytes < 1'000'000'000'000) return fmt::format("{:.2f} GB", number / 1e9);
  return fmt::format("{:.2f} TB", number / 1e12);
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  const size_t columns = rows.empty() ? 0 : rows.front().size();
  std::vector<size_t> widths(columns, 0);
  std::vector<bool> filled(columns, false);
  for (const auto& row : rows) {
    for (size_t i = 0; i < columns; ++i) {
      widths[i] = std::max(widths[i], letters(row[i]));
      filled[i] = filled[i] || (&row != &rows.front() && !row[i].empty());
    }
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < columns; ++i) {
      if (filled[i]) line += row[i] + std::string(widths[i] - letters(row[i]) + 2, ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

}  // namespace beit

#include "io/last_lines.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;

namespace {

std::vector<std::string> last_lines(const std::string& text, int64_t most_bytes = 1 << 30, size_t most = 1 << 30) {
  const TemporaryFolder folder;
  put_file(folder.path / "log", text);
  std::vector<std::string> lines;
  read_last_lines(folder.path / "log", most_bytes, [&](std::string_view line) {
    lines.emplace_back(line);
    return lines.size() < most;
  });
  return lines;
}

}  // namespace

TEST_CASE("last lines: come backwards, without what is being written") {
  using Lines = std::vector<std::string>;
  CHECK(last_lines("").empty());
  CHECK(last_lines("half").empty());
  CHECK(last_lines("a\n") == Lines{"a"});
  CHECK(last_lines("a\n\nb\nhalf") == Lines{"b", "", "a"});
  CHECK(last_lines("a\nb\nc\n", 1 << 30, 2) == Lines{"c", "b"});
  CHECK(last_lines("aaa\nbbb\nccc\n", 10) == Lines{"ccc", "bbb"});  // of "aaa" the beginning may not be read
  CHECK(last_lines("\n\n") == Lines{"", ""});
}

TEST_CASE("last lines: lines longer than a block, and breaks on its border, are whole") {
  std::vector<std::string> lines;
  std::string text;
  for (size_t i = 0; i < 12; ++i) {
    lines.push_back(std::string(i * 21845, static_cast<char>('a' + i)));  // thirds of a block of 65535 + breaks
    text += lines.back() + '\n';
  }
  CHECK(last_lines(text + std::string(70000, 'z')) == std::vector<std::string>(lines.rbegin(), lines.rend()));
}

TEST_CASE("last lines: a file that is missing is an error with its name") {
  check_refusal([] { read_last_lines("/none/log", 1, [](std::string_view) { return true; }); },
                "/none/log: ", "got none");
}

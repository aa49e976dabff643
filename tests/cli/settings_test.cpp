#include "cli/settings.h"

#include <doctest/doctest.h>

#include <fstream>

#include "base/error.h"
#include "base/option.h"
#include "tests/support.h"

namespace beit {
namespace {

std::filesystem::path file_with(const TemporaryFolder& folder, const std::string& text) {
  const auto path = folder.path / "a.toml";
  std::ofstream(path) << text;
  return path;
}

std::vector<Setting> settings_of(const std::string& text) {
  const TemporaryFolder folder;
  return read_settings(file_with(folder, text));
}

/// The error without the folder's name.
std::string error_of(const std::string& text) {
  const TemporaryFolder folder;
  try {
    read_settings(file_with(folder, text));
  } catch (const Error& error) {
    return std::string(error.what()).substr(folder.path.string().size() + 1);
  }
  return "";
}

using Words = std::vector<std::string>;

TEST_CASE("settings: keys, sections and lines of a file") {
  const auto settings = settings_of(
      "# of all commands\n"
      "seed = 3\n"
      "a=1\n"
      "\n"
      "[ vqkd ]  # the tokenizer\n"
      "lr = 2e-4 # rate\r\n"
      "\tkmeans-start = false\n"
      "[pretrain]\n"
      "lr=1.5e-3");
  REQUIRE(settings.size() == 5);
  CHECK(settings[0].section == "");
  CHECK(settings[0].key == "seed");
  CHECK(settings[0].words == Words{"3"});
  CHECK(settings[0].line == 2);
  CHECK(settings[1].key == "a");
  CHECK(settings[2].section == "vqkd");
  CHECK(settings[2].words == Words{"2e-4"});
  CHECK(settings[3].words == Words{"false"});
  CHECK(settings[4].section == "pretrain");
  CHECK(settings[4].line == 9);
}

TEST_CASE("settings: texts hold blanks, commas, brackets and the comment's sign") {
  CHECK(settings_of("data = \"a b, c #1 [x] = 'y'\"").at(0).words == Words{"a b, c #1 [x] = 'y'"});
  CHECK(settings_of("data = 'say \"a\"' # note").at(0).words == Words{"say \"a\""});
  CHECK(settings_of("data = \"\"").at(0).words == Words{""});
  CHECK(settings_of("data = \"x\"").at(0).words == Words{"x"});
}

TEST_CASE("settings: lists may stand on several lines") {
  CHECK(settings_of("data = [\"a b\", 'c,d' , \"e#f\"]").at(0).words == Words{"a b", "c,d", "e#f"});
  const auto settings = settings_of("data = [  # two\n  \"a\",\n  \"b\" ,  # last\n]\nseed = 1\n");
  REQUIRE(settings.size() == 2);
  CHECK(settings[0].words == Words{"a", "b"});
  CHECK(settings[0].line == 1);
  CHECK(settings[1].line == 5);
  CHECK(settings_of("data = []").at(0).words.empty());
  CHECK(settings_of("data = [\"a\"]").at(0).words == Words{"a"});
}

TEST_CASE("settings: what to_toml writes is read as it was") {
  std::vector<std::string> lists[] = {{}, {"a"}, {"a b", "it's", "say \"x\"", "c,d", "#e", "", "[f]"}};
  for (auto& list : lists) {
    std::string text = "a #1, 'b'";
    double number = 1e-5;
    const auto toml = to_toml({{.name = "data", .value = &list, .help = ""},
                               {.name = "text", .value = &text, .help = ""},
                               {.name = "lr", .value = &number, .help = ""}});
    CAPTURE(toml);
    const auto settings = settings_of(toml);
    REQUIRE(settings.size() == 3);
    CHECK(settings[0].words == list);
    CHECK(settings[1].words == Words{text});
    CHECK(settings[2].words == Words{"1e-05"});
  }
}

TEST_CASE("settings: a text in single quotes is taken as it stands") {
  CHECK(settings_of("a = 'b\\n \"c\"'")[0].words == Words{"b\\n \"c\""});
}

TEST_CASE("settings: a damaged file is refused with the line") {
  CHECK(error_of("seed = 1\nseed\n") == "a.toml:2: expected `key = value` or `[section]`, got seed");
  CHECK(error_of("x") == "a.toml:1: expected `key = value` or `[section]`, got x");
  CHECK(error_of("= 3") == "a.toml:1: expected `key = value` or `[section]`, got =3");
  CHECK(error_of("\n[]") == "a.toml:2: expected a section's name, got []");
  CHECK(error_of("[vqkd") == "a.toml:1: expected a list or section that ends with ], got [vqkd");
  CHECK(error_of("a = [\"b\",\n\"c\"") == "a.toml:1: expected a list or section that ends with ], got a=[\"b\",\"c\"");
  CHECK(error_of("a = \"b") == "a.toml:1: expected a text that ends with \", got a = \"b");
  CHECK(error_of("a = \"b\\n\"").starts_with("a.toml:1: expected no backslash"));
  CHECK(error_of("a = 'b\\'").starts_with("a.toml:1: expected no backslash"));
  CHECK(error_of("[v]\nlr = 1\n[w]\nlr = 2\n[v]\nlr = 3") ==
        "a.toml:6: expected each key once, got 'lr' again, which line 2 sets");
  CHECK(error_of("lr = 1\nlr = 1").starts_with("a.toml:2: expected each key once"));
}

TEST_CASE("settings: a missing file and a folder are refused") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(read_settings(folder.path / "none.toml"), doctest::Contains("expected a configuration file"),
                       Error);
  CHECK_THROWS_WITH_AS(read_settings(folder.path), doctest::Contains("expected a configuration file"), Error);
}

}  // namespace
}  // namespace beit

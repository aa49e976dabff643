#include "cli/class_choice.h"

#include <doctest/doctest.h>

#include "tests/io/files.h"
#include "tests/support.h"

namespace beit {
namespace {

using Names = std::vector<std::string>;
using Numbers = std::vector<int64_t>;

TEST_CASE("class names: one a line, blanks, byte order mark and lines at the end do not count") {
  const TemporaryFolder root;
  const auto path = root.path / "names.txt";
  put_file(path, "\xef\xbb\xbf tench, Tinca tinca\r\ncrane\t\n\xc3\xa9t\xc3\xa9\n\n \n");
  CHECK(read_class_names(path) == Names{"tench, Tinca tinca", "crane", "\xc3\xa9t\xc3\xa9"});
}

TEST_CASE("class names: hostile files are an Error that names the line") {
  const TemporaryFolder root;
  const auto path = root.path / "names.txt";
  const auto refused = [&](std::string_view bytes, std::string_view part) {
    put_file(path, bytes);
    check_refusal([&] { read_class_names(path); }, path.string(), part);
  };
  refused("", "got none");
  refused(" \n\r\n", "got none");
  refused("a\n\nb\n", ":2: expected a class's name, got an empty line");
  refused(std::string("a\nb\0c\n", 6), ":2: expected a class's name");
  refused("a\nb\x1b[2J\n", ":2: expected a class's name");
  refused("a\n" + std::string(1001, 'x') + "\n", ":2: expected a class's name");
  check_refusal([&] { read_class_names(root.path / "none"); }, (root.path / "none").string(), "nothing there");
  check_refusal([&] { read_class_names(root.path); }, root.path.string(), "no file");
  check_refusal([&] { read_class_names("/dev/zero"); }, "/dev/zero", "no file");
  put_file(path, "a\n");
  std::filesystem::resize_file(path, (64 << 20) + 1);
  check_refusal([&] { read_class_names(path); }, path.string(), "at most");
}

TEST_CASE("classes: are found by name in any order, and the data may have fewer") {
  const auto match = match_classes({"cat", "dog"}, {"dog", "bird", "cat"}, 3);
  CHECK(match.outputs == Numbers{2, 0});
  CHECK(match.names == Names{"dog", "bird", "cat"});
  CHECK(match.by == "by name");
  check_refusal(
      [] {
        match_classes({"cat", "dug"}, {"dog", "bird", "cat"}, 3);
      },
      "classes: ", "got 'dug'; the nearest is 'dog'");
  check_refusal(
      [] {
        match_classes({"crane"}, {"crane", "cat", "crane"}, 3);
      },
      "classes: ", "'crane', which outputs 0 and 2 share");
  CHECK(match_classes({"cat"}, {"crane", "cat", "crane"}, 3).outputs == Numbers{1});
}

TEST_CASE("classes: numbers are outputs, also where outputs have names; folders named by numbers too") {
  const Names numbers{"0", "1", "10", "2"};
  const Names names{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"};
  CHECK(match_classes({"0", "1", "2"}, {"x", "y", "z"}, 3).outputs == Numbers{0, 1, 2});
  CHECK(match_classes({"0", "1", "2"}, {"2", "1", "0"}, 3).outputs == Numbers{2, 1, 0});
  for (const Names& given : {Names{}, names}) {
    const auto match = match_classes(numbers, given, 11);
    CHECK(match.outputs == Numbers{0, 1, 10, 2});
    CHECK(match.by == "by number");
  }
  CHECK(match_classes(numbers, {}, 11).names[10] == "10");
  // A model of such folders has their names in sorted order.
  CHECK(match_classes({"10", "2"}, numbers, 4).outputs == Numbers{2, 3});
  check_refusal([&] { match_classes(numbers, {}, 10); }, "classes: ", "below the model's 10 outputs, got 10");
  check_refusal([&] { match_classes({"99999999999999999999", "1"}, {}, 10); }, "classes: ", "got 2");
}

TEST_CASE("classes: names that the model does not tell need equal numbers, and are then taken in sorted order") {
  const auto match = match_classes({"cat", "dog"}, {}, 2);
  CHECK(match.outputs == Numbers{0, 1});
  CHECK(match.names == Names{"cat", "dog"});
  CHECK(match.by.starts_with("in sorted order"));
  check_refusal([] { match_classes({"cat", "dog"}, {}, 3); }, "classes: ", "--class-names FILE");
  check_refusal([] { match_classes({}, {}, 3); }, "classes: ", "got none");
}

TEST_CASE("subset: names or numbers of outputs, ascending, each once; what is neither is an Error") {
  const TemporaryFolder root;
  const auto path = root.path / "subset.txt";
  const Names names{"dog", "bird", "cat", "7", "cat"};
  put_file(path, "7\n2\ndog\n0\n");
  CHECK(read_subset(path, names) == Numbers{0, 2, 3});
  const auto refused = [&](std::string_view bytes, std::string_view part) {
    put_file(path, bytes);
    check_refusal([&] { read_subset(path, names); }, path.string(), part);
  };
  refused("dog\nbirt\n", "got 'birt'; the nearest is 'bird'");
  refused("dog\n5\n", "below the model's 5 outputs, got 5");
  refused("dog\n-1\n", "got '-1'");
  refused("dog\ncat\n", "outputs 2 and 4 share");
  refused("dog\n0\n", "two classes at least");
}

}  // namespace
}  // namespace beit

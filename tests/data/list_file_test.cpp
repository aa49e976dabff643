#include "data/list_file.h"

#include <doctest/doctest.h>

#include <chrono>

#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

struct List {
  TemporaryFolder folder;
  std::filesystem::path path = folder.path / "list.txt";

  std::vector<ListedImage> read(const std::string& text) const {
    write_bytes(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return read_list_file(path);
  }
  // What is said of it, without the folder's name; empty where it is read.
  std::string error(const std::string& text) const {
    const auto message = error_of([&] { read(text); });
    return message.empty() ? message : message.substr(folder.path.string().size() + 1);
  }
  // Of a list of one line.
  std::string path_of(const std::string& line) const { return read(line).at(0).path; }
  Label label_of(const std::string& line) const { return read(line).at(0).label; }
};

}  // namespace

TEST_CASE("list: tab, comma and space part a path from its class, and a path may hold them") {
  const List list;
  for (const char* line : {"a/b.jpg\t7", "a/b.jpg,7", "a/b.jpg 7", "  a/b.jpg ,  7 \r",
                           "\xef\xbb\xbf"
                           "a/b.jpg 7"}) {
    CAPTURE(line);
    CHECK(list.path_of(line) == "a/b.jpg");
    CHECK(list.label_of(line) == Label{.number = 7});
  }
  CHECK(list.path_of("my, holiday.JPG.png 3.webp 12") == "my, holiday.JPG.png 3.webp");
  CHECK(list.label_of("my, holiday.JPG.png 3.webp 12") == Label{.number = 12});
  CHECK(list.path_of("a b.jpg") == "a b.jpg");
  CHECK(list.label_of("a b.jpg") == Label{});
  CHECK(list.label_of("a.jpg,golden retriever") == Label{.name = "golden retriever"});
  CHECK(list.label_of("a.jpg -1") == Label{});
  CHECK(list.label_of("a.jpg,") == Label{});
}

TEST_CASE("list: a path's ending counts where its last name begins, ends and is cut as an image's") {
  const List list;
  CHECK(list.path_of("a.jpg/b.png 3") == "a.jpg/b.png");
  CHECK(list.path_of("a.jpg b/.c.png") == "a.jpg");
  CHECK(list.label_of("a.jpg b/.c.png") == Label{.name = "b/.c.png"});
  CHECK(list.path_of("a.jpg,b.jpeg") == "a.jpg,b.jpeg");
  CHECK(list.path_of("a.jpg, ,b.tif") == "a.jpg");
  CHECK(list.label_of("a.jpg, ,b.tif") == Label{.name = ",b.tif"});
  CHECK(list.path_of("a..webp\t \t2") == "a..webp");
  CHECK(list.label_of("a..webp\t \t2") == Label{.number = 2});
}

// Each would take minutes if the line's beginning were looked at again for each separator.
TEST_CASE("list: the time for a line grows as its length") {
  const List list;
  constexpr size_t kLength = 4'000'000;
  const auto repeated = [](const std::string& part) {
    std::string text;
    while (text.size() < kLength) text += part;
    return text;
  };
  for (const char* part : {",", " ", ".jpg ", "x", "/ ", "/.jpg,"}) {
    CAPTURE(part);
    const auto start = std::chrono::steady_clock::now();
    CHECK(contains(list.error("x/" + repeated(part) + "x"), "list.txt:1: expected the path of an image"));
    CHECK(list.path_of("a.jpg,/" + repeated(part) + "x") == "a.jpg");
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  }
}

TEST_CASE("list: empty lines and a header are passed over") {
  const List list;
  const auto images = list.read("path\tlabel\n\nb.png\tcat\r\n\na.png\tdog\nc.png");
  REQUIRE(images.size() == 3);
  CHECK(images[0].path == "b.png");
  CHECK(images[1].label == Label{.name = "dog"});
  CHECK(images[2].label == Label{});
  CHECK(list.read("Path,Label\n").empty());
  CHECK(list.read("").empty());
}

TEST_CASE("list: a line that is none is refused with its number") {
  const List list;
  CHECK(contains(list.error("a.jpg 1\nnotes"), "list.txt:2: expected the path of an image"));
  CHECK(contains(list.error("a.jpg 1\npath label"), "list.txt:2: expected the path of an image"));
  CHECK(contains(list.error("image,class"), "list.txt:1: expected the path"));
  CHECK(contains(list.error("\"a.jpg\",1"), "list.txt:1: expected the path"));
  CHECK(contains(list.error(".jpg 1"), "list.txt:1: expected the path"));
  CHECK(contains(list.error("a.jpg;1"), "list.txt:1: expected the path"));
  CHECK(contains(list.error(std::string("a\0.jpg 1", 8)), "list.txt:1: expected the path"));
  CHECK(contains(list.error("a.jpg -2"), "list.txt:1: expected a class from 0 to 999999, or -1 for none, got -2"));
  CHECK(contains(list.error("a.jpg 1000000"), "list.txt:1: expected a class from 0"));
  CHECK(contains(list.error("a.jpg 99999999999999999999"), "list.txt:1: expected a class from 0"));
  CHECK(contains(list.error("a.jpg 1\nb.jpg\nc.jpg cat"),
                 "list.txt:3: expected a class by number as in line 1, got 'cat'"));
  CHECK(contains(list.error("a.jpg cat\nb.jpg 1"), "list.txt:2: expected a class by name as in line 1, got '1'"));
  CHECK(contains(list.error("a.jpg 1\n\na.jpg 2"),
                 "list.txt:3: expected each image once, got 'a.jpg' again, which line 1"));
  CHECK(contains(error_of([&] { read_list_file(list.folder.path / "none.txt"); }), "none.txt: expected a list"));
}

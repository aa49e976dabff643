#include "data/dataset.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <thread>

#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

namespace {

Dataset open(const std::vector<fs::path>& sources) { return Dataset::open(sources); }

// Paths below `root`, in the dataset's order.
std::vector<std::string> paths(const Dataset& dataset, const fs::path& root) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) names.push_back(dataset.path(i).substr(root.string().size() + 1));
  return names;
}

std::vector<int64_t> labels(const Dataset& dataset) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < dataset.size(); ++i) all.push_back(dataset.label(i));
  return all;
}

void write_text(const fs::path& path, const std::string& text) {
  write_bytes(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

using Names = std::vector<std::string>;
using Labels = std::vector<int64_t>;

const std::vector<uint8_t> kPng = encode_png(picture(4, 4));

}  // namespace

TEST_CASE("dataset: every ending of a format that is decoded is an image's, others are not") {
  const TemporaryFolder folder;
  for (const std::string name : {"a.bmp", "b.GIF", "c.jpeg", "d.jpg", "e.png", "f.webp", "g.tif", "h.gifs", "bmp"}) {
    write_bytes(folder.path / name, {});
  }
  CHECK(paths(open({folder.path}), folder.path) ==
        std::vector<std::string>{"a.bmp", "b.GIF", "c.jpeg", "d.jpg", "e.png", "f.webp"});
}

TEST_CASE("dataset: a folder of class folders is sorted by path, endings in any case, other files left out") {
  const TemporaryFolder folder;
  for (const char* name :
       {"cat/b.PNG", "cat/a.jpeg", "ant/z.JPG", "dog/inner/x.webp", "cat/notes.txt", "cat/.hidden.png", ".git/q.png"}) {
    write_bytes(folder.path / name, kPng);
  }
  const auto dataset = open({folder.path});
  CHECK(paths(dataset, folder.path) == Names{"ant/z.JPG", "cat/a.jpeg", "cat/b.PNG", "dog/inner/x.webp"});
  CHECK(dataset.classes() == Names{"ant", "cat", "inner"});
  CHECK(labels(dataset) == Labels{0, 1, 1, 2});
  CHECK(dataset.read(0) == kPng);
}

TEST_CASE("dataset: a flat folder and a single image have no classes") {
  const TemporaryFolder folder;
  write_bytes(folder.path / "b.png", kPng);
  write_bytes(folder.path / "a.png", kPng);
  write_bytes(folder.path / "image-without-ending", kPng);
  CHECK(paths(open({folder.path}), folder.path) == Names{"a.png", "b.png"});
  CHECK(open({folder.path / ""}).path(0) == (folder.path / "a.png").string());
  const auto single = open({folder.path / "image-without-ending"});
  CHECK(labels(single) == Labels{-1});
  CHECK(single.classes().empty());
  CHECK(single.read(0) == kPng);
}

TEST_CASE("dataset: several sources make one, sorted, classes of one name joined") {
  const TemporaryFolder folder;
  write_bytes(folder.path / "2/cat/a.png", kPng);
  write_bytes(folder.path / "1/dog/b.png", kPng);
  write_bytes(folder.path / "1/cat/c.png", kPng);
  write_bytes(folder.path / "3.tar", tar({tar_member("./x/ant/d.png", kPng), tar_member("x/cat/e.png", kPng)}));
  write_bytes(folder.path / "4/f.png", kPng);
  const auto dataset = open({folder.path / "4", folder.path / "3.tar", folder.path / "2", folder.path / "1"});
  CHECK(paths(dataset, folder.path) ==
        Names{"1/cat/c.png", "1/dog/b.png", "2/cat/a.png", "3.tar/x/ant/d.png", "3.tar/x/cat/e.png", "4/f.png"});
  CHECK(dataset.classes() == Names{"ant", "cat", "dog"});
  CHECK(labels(dataset) == Labels{1, 2, 1, 0, 1, -1});
  for (int64_t i = 0; i < dataset.size(); ++i) CHECK(dataset.read(i) == kPng);
}

TEST_CASE("dataset: symbolic links are followed, and one that leads back to its folder ends") {
  const TemporaryFolder folder;
  write_bytes(folder.path / "elsewhere/a.png", kPng);
  fs::create_directories(folder.path / "data/cat");
  fs::create_directory_symlink(folder.path / "elsewhere", folder.path / "data/dog");
  fs::create_symlink(folder.path / "elsewhere/a.png", folder.path / "data/cat/b.png");
  fs::create_directory_symlink(folder.path / "data", folder.path / "data/cat/again");
  CHECK(paths(open({folder.path / "data"}), folder.path / "data") == Names{"cat/b.png", "dog/a.png"});
}

TEST_CASE("dataset: a broken link or a file that vanished is an error of that image only") {
  const TemporaryFolder folder;
  write_bytes(folder.path / "a.png", kPng);
  fs::create_symlink("nowhere", folder.path / "b.png");
  const auto dataset = open({folder.path});
  CHECK(dataset.size() == 2);
  CHECK(dataset.read(0) == kPng);
  CHECK(contains(error_of([&] { dataset.read(1); }), "b.png: expected a readable image file"));
}

TEST_CASE("dataset: what is no source of images is refused by name") {
  const TemporaryFolder folder;
  const auto& root = folder.path;
  CHECK(contains(error_of([&] { open({root / "none"}); }),
                 "none: expected a folder, a list, a tar archive or an image, got nothing there"));
  fs::create_directories(root / "empty/inner");
  CHECK(contains(error_of([&] { open({root / "empty"}); }), "empty: expected images (ending .jpg"));
  write_bytes(root / "text.jpg", std::vector<uint8_t>(2000, 'x'));
  CHECK(contains(error_of([&] { open({root / "text.jpg"}); }), "text.jpg: expected a folder of images, a tar archive"));
  write_bytes(root / "nothing", {});
  CHECK(contains(error_of([&] { open({root / "nothing"}); }), "nothing: expected a folder of images"));
  write_bytes(root / "none.tar", tar({tar_member("readme.txt", kPng)}));
  CHECK(contains(error_of([&] { open({root / "none.tar"}); }), "none.tar: expected images"));
  write_bytes(root / "mixed/cat/a.png", kPng);
  write_bytes(root / "mixed/b.png", kPng);
  const auto mixed = error_of([&] { open({root / "mixed"}); });
  CHECK(contains(mixed, "expected images either all in class folders or all loose"));
  CHECK((contains(mixed, "mixed/b.png") && contains(mixed, "mixed/cat/a.png")));
  CHECK(contains(error_of([] { open({}); }), "got none; give --data"));
  if (geteuid() != 0) {
    fs::permissions(root / "empty", fs::perms::none);
    CHECK(contains(error_of([&] { open({root / "empty"}); }), "empty: expected a readable source"));
    fs::permissions(root / "empty", fs::perms::owner_all);
  }
}

TEST_CASE("dataset: a list gives paths relative to itself, and their classes by number or by name") {
  const TemporaryFolder folder;
  const auto& root = folder.path;
  write_bytes(root / "x/b.png", kPng);
  write_bytes(root / "a.png", kPng);
  write_text(root / "lists/numbers.txt", "../x/b.png 3\n" + (root / "a.png").string() + " 1\nnone.png\n");
  const auto dataset = open({root / "lists/numbers.txt"});
  CHECK(paths(dataset, root) == Names{"a.png", "lists/../x/b.png", "lists/none.png"});
  CHECK(labels(dataset) == Labels{1, 3, -1});
  CHECK(dataset.numbered_classes());
  CHECK(dataset.classes() == Names{"0", "1", "2", "3"});
  CHECK(dataset.read(1) == kPng);
  CHECK(contains(error_of([&] { dataset.read(2); }), "lists/none.png: expected a readable image file"));

  write_text(root / "names.tsv", "x/b.png\tgolden retriever\na.png\tant\n");
  const auto named = open({root / "names.tsv"});
  CHECK(labels(named) == Labels{0, 1});
  CHECK(named.classes() == Names{"ant", "golden retriever"});
  CHECK(!named.numbered_classes());
  write_text(root / "empty.txt", "path label\n");
  CHECK(contains(error_of([&] { open({root / "empty.txt"}); }), "empty.txt: expected images"));
  write_text(root / "bad.csv", "a.png,1\nb\n");
  CHECK(contains(error_of([&] { open({root / "bad.csv"}); }), "bad.csv:2: expected the path of an image"));
}

TEST_CASE("dataset: classes are all names or all numbers") {
  const TemporaryFolder folder;
  const auto& root = folder.path;
  write_bytes(root / "folders/cat/a.png", kPng);
  write_bytes(root / "flat/a.png", kPng);
  write_text(root / "numbers.txt", "flat/a.png 3\n");
  write_text(root / "names.txt", "flat/a.png cat\n");
  const auto mixed = open({root / "folders", root / "numbers.txt"});
  CHECK(labels(mixed) == Labels{-1, -1});
  const auto error = error_of([&] { mixed.classes(); });
  CHECK(contains(error, "expected classes all by name or all by number, got 'cat' of "));
  CHECK((contains(error, "folders/cat/a.png") && contains(error, "3 of ") && contains(error, "flat/a.png")));
  CHECK(open({root / "folders", root / "names.txt"}).classes() == Names{"cat"});
  CHECK(labels(open({root / "flat", root / "numbers.txt"})) == Labels{-1, 3});
}

TEST_CASE("dataset: shards in WebDataset's naming come as a folder, a pattern or one by one") {
  const TemporaryFolder folder;
  const auto& root = folder.path;
  const auto shard = [&](const std::string& name, int64_t label) {
    const auto digits = std::to_string(label);
    write_bytes(root / "set" / name, tar({tar_member("b.png", kPng),
                                          tar_member("b.cls", {reinterpret_cast<const uint8_t*>(digits.data()), 1}),
                                          tar_member("a.png", kPng)}));
  };
  shard("s-000.tar", 4);
  shard("s-001.tar", 2);
  write_bytes(root / "set/s-002.TAR", tar({}));
  write_text(root / "set/.s-003.tar", "hidden");
  write_text(root / "set/readme.txt", "words");
  const Names all{"s-000.tar/a.png", "s-000.tar/b.png", "s-001.tar/a.png", "s-001.tar/b.png"};
  for (const auto& sources : {std::vector{root / "set"},
                              {root / "set/s-{000..001}.tar"},
                              {root / "set/s-{001.tar,002.TAR,000.tar}"},
                              {root / "set/s-001.tar", root / "set/s-000.tar"}}) {
    const auto dataset = open(sources);
    CHECK(paths(dataset, root / "set") == all);
    CHECK(labels(dataset) == Labels{-1, 4, -1, 2});
    CHECK(dataset.classes().size() == 5);
    CHECK(dataset.sources() == std::ssize(sources));
    CHECK(dataset.read(3) == kPng);
    CHECK(dataset.archive(0) == dataset.archive(1));
    CHECK(dataset.archive(0) != dataset.archive(2));
    CHECK(dataset.offset(0) > dataset.offset(1));
    dataset.prefetch(0);
  }
  const auto both = open({root / "set/s-001.tar", root / "set/s-000.tar"});
  CHECK(both.source(0) == 1);
  CHECK(both.source(2) == 0);
  CHECK(contains(error_of([&] { open({root / "set/s-{000..004}.tar"}); }), "s-002.tar: expected a folder"));
  CHECK(contains(error_of([&] { open({root / "set/s-{000..}.tar"}); }), "s-{000..}.tar: expected braces"));
  CHECK(contains(error_of([&] { open({root / "set/s-002.TAR"}); }), "s-002.TAR: expected images"));
  fs::rename(root / "set/s-000.tar", root / "set/odd{1..2}.tar");
  CHECK(open({root / "set/odd{1..2}.tar"}).size() == 2);
  fs::create_directory(root / "set/inner");
  fs::rename(root / "set/s-001.tar", root / "set/inner/s-001.tar");
  CHECK(open({root / "set"}).size() == 4);
  CHECK(contains(error_of([&] { open({root / "set/s-*.tar"}); }), "write a pattern as 'x-{000..012}.tar'"));
  write_bytes(root / "set/a.png", kPng);
  CHECK(contains(error_of([&] { open({root / "set"}); }), "expected images or tar archives, got both"));
}

TEST_CASE("dataset: a truncated or damaged shard of a set is refused by name") {
  const TemporaryFolder folder;
  auto bytes = tar({tar_member("a.png", kPng)});
  write_bytes(folder.path / "0.tar", bytes);
  write_bytes(folder.path / "1.tar", std::span(bytes).first(600));
  CHECK(contains(error_of([&] { open({folder.path}); }), "1.tar: expected the"));
  write_bytes(folder.path / "1.tar", std::vector<uint8_t>(600, 'x'));
  CHECK(contains(error_of([&] { open({folder.path}); }), "1.tar: expected a tar header at 0"));
  write_bytes(folder.path / "1.tar", {});
  CHECK(contains(error_of([&] { open({folder.path}); }), "1.tar: expected a member or the closing block at 0"));
}

TEST_CASE("dataset: a file of its own has no archive, and its class folder is a name even of digits") {
  const TemporaryFolder folder;
  write_bytes(folder.path / "0/a.png", kPng);
  write_bytes(folder.path / "10/b.png", kPng);
  const auto dataset = open({folder.path});
  CHECK(!dataset.numbered_classes());
  CHECK(dataset.classes() == Names{"0", "10"});
  CHECK(dataset.archive(0) == -1);
  CHECK(dataset.offset(0) == 0);
  dataset.prefetch(0);
}

TEST_CASE("dataset: CIFAR-10's archive has ten classes and the images that were put in") {
  const auto path = shared_file("data/cifar10-test.tar");
  if (!path) return;
  const auto dataset = open({*path});
  CHECK(dataset.size() == 10000);
  CHECK(dataset.classes().size() == 10);
  CHECK(dataset.path(0).ends_with("cifar10-test.tar/test/airplane/0000.jpg"));
  std::vector<std::thread> threads;  // reads from several threads do not disturb one another
  std::vector<int64_t> bad(4, 0);
  for (size_t t = 0; t < bad.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = static_cast<int64_t>(t); i < dataset.size(); i += 40) {
        bad[t] += decode_image(dataset.read(i), dataset.path(i)).size(0) == 32 ? 0 : 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(bad == std::vector<int64_t>(4, 0));
}

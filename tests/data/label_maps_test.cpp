#include "data/label_maps.h"

#include <doctest/doctest.h>

#include "data/png.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

namespace fs = std::filesystem;
using Paths = std::vector<fs::path>;

std::array<Color, 256> colours() {
  std::array<Color, 256> palette{};
  for (size_t i = 0; i < palette.size(); ++i) palette[i] = {static_cast<uint8_t>(i), static_cast<uint8_t>(255 - i), 7};
  return palette;
}

torch::Tensor labels_of(const std::vector<int64_t>& values, int64_t height, int64_t width) {
  return torch::tensor(values).to(torch::kUInt8).view({height, width}).contiguous();
}

void write_labels(const fs::path& path, const torch::Tensor& labels_HW) {
  write_bytes(path, encode_png_indices(labels_HW, colours()));
}

/// Images of 2 x 3 pixels and their label maps, in one folder each.
struct Folders {
  TemporaryFolder root;
  fs::path images = root.path / "images", labels = root.path / "labels";

  void add(const std::string& name, int64_t label) const {
    write_png(images / name, picture(2, 3));
    write_labels(labels / fs::path(name).replace_extension(".png"), torch::full({2, 3}, label, torch::kUInt8));
  }
  Dataset open() const { return Dataset::open(Paths{images}); }
  LabelMaps maps(const Dataset& set, const LabelRules& rules = {.classes = 5}) const {
    return {set, Paths{images}, Paths{labels}, rules};
  }
};

}  // namespace

TEST_CASE("label maps: what is encoded with a palette comes back as it was, and shows the colours") {
  const auto all_HW = torch::arange(256).to(torch::kUInt8).view({8, 32}).contiguous();
  for (const auto& labels_HW : {all_HW, labels_of({3}, 1, 1), labels_of({0, 1, 255}, 3, 1)}) {
    const auto bytes = encode_png_indices(labels_HW, colours());
    CHECK(torch::equal(decode_label_map(bytes, "map"), labels_HW));
    const auto pixels_HWC = decode_image(bytes, "map");
    CHECK(torch::equal(pixels_HWC.select(2, 0), labels_HW));
    CHECK(torch::equal(pixels_HWC.select(2, 1), 255 - labels_HW));
  }
  CHECK_THROWS_AS(encode_png_indices(torch::zeros({2, 2}), colours()), Error);
}

TEST_CASE("label maps: each image gets the map of its own path, from whichever source") {
  const Folders one, two;
  one.add("town/a.png", 1);
  one.add("town/b.png", 2);
  one.add("land/a.png", 3);
  two.add("town/a.png", 4);
  write_labels(two.labels / "town" / "unused.png", labels_of({9}, 1, 1));
  const Paths sources{one.images, two.images};
  const Dataset images = Dataset::open(sources);
  const LabelMaps maps(images, sources, Paths{one.labels, two.labels}, {.classes = 5});
  REQUIRE(images.size() == 4);
  for (int64_t i = 0; i < images.size(); ++i) {
    const std::string& path = images.path(i);
    const int64_t expected = images.source(i) == 1           ? 4
                             : contains(path, "/land/")      ? 3
                             : path.ends_with("/town/b.png") ? 2
                                                             : 1;
    CAPTURE(path);
    CHECK(maps.read(i, {2, 3}).eq(expected).all().item<bool>());
    CHECK(maps.holds(maps.path(i)));
    CHECK(!maps.holds(path));
  }
}

TEST_CASE("label maps: lists, archives and single images have theirs too") {
  const Folders folders;
  folders.add("x/a.png", 1);
  folders.add("x/b.png", 2);
  const auto image = encode_png(picture(2, 3));
  const fs::path archive = folders.root.path / "set.tar", list = folders.images / "list.txt";
  write_bytes(archive, tar({tar_member("./x/a.png", image), tar_member("x/b.png", image)}));
  std::ofstream(list) << "x/b.png\nx/a.png\n";
  for (const auto& source : {archive, list}) {
    CAPTURE(source.string());
    const Dataset images = Dataset::open(Paths{source});
    const LabelMaps maps(images, Paths{source}, Paths{folders.labels}, {.classes = 5});
    for (int64_t i = 0; i < 2; ++i) {
      CHECK(maps.read(i, {2, 3})[0][0].item<int64_t>() == (images.path(i).ends_with("a.png") ? 1 : 2));
    }
  }
  const Paths single{folders.images / "x" / "b.png"};
  const Dataset images = Dataset::open(single);
  CHECK(label_paths(images, single, true) == std::vector<std::string>{"b.png"});
  CHECK(LabelMaps(images, single, Paths{folders.labels / "x"}, {.classes = 5}).read(0, {2, 3})[1][2].item<int64_t>() ==
        2);
}

TEST_CASE("label maps: a path that leaves its source, or that two images share, is an Error") {
  const Folders folders;
  folders.add("a.png", 1);
  const fs::path list = folders.root.path / "images" / "list.txt", above = folders.root.path / "labels" / "list.txt";
  std::ofstream(list) << "../labels/a.png\n";
  CHECK(contains(error_of([&] { label_paths(Dataset::open(Paths{list}), Paths{list}, true); }), "got one elsewhere"));
  std::ofstream(above) << (folders.images / "a.png").string() << "\n";
  CHECK(contains(error_of([&] { label_paths(Dataset::open(Paths{above}), Paths{above}, true); }), "got one elsewhere"));
  fs::remove(list);

  write_bytes(folders.images / "a.bmp.png", encode_png(picture(2, 3)));
  CHECK(label_paths(folders.open(), Paths{folders.images}, true) == std::vector<std::string>{"a.bmp.png", "a.png"});
  write_bytes(folders.images / "a.webp", encode_png(picture(2, 3)));
  const auto same = error_of([&] { folders.maps(folders.open()); });
  CHECK(contains(same, "a.webp: expected a PNG file of its own"));
  CHECK(contains(same, "a.png"));

  const Folders other;
  other.add("a.png", 1);
  fs::remove(folders.images / "a.webp");
  const Paths both{folders.images, other.images};
  CHECK(label_paths(Dataset::open(both), both, false).size() == 3);
  CHECK(contains(error_of([&] { label_paths(Dataset::open(both), both, true); }), "rename one of the images"));
}

TEST_CASE("label maps: a missing one, one of another size and one of colours are Errors that name what to mend") {
  const Folders folders;
  folders.add("a.png", 1);
  folders.add("b.png", 1);
  fs::remove(folders.labels / "b.png");
  const auto missing = error_of([&] { folders.maps(folders.open()); });
  CAPTURE(missing);
  CHECK(contains(missing, (folders.images / "b.png").string()));
  CHECK(contains(missing, (folders.labels / "b.png").string()));
  CHECK(contains(missing, "1 of 2 images"));

  write_labels(folders.labels / "b.png", labels_of({0, 1}, 1, 2));
  const Dataset images = folders.open();
  const LabelMaps maps = folders.maps(images);
  const auto size = error_of([&] { maps.read(1, {2, 3}); });
  CHECK(contains(size, (folders.labels / "b.png").string()));
  CHECK(contains(size, "2 x 3"));
  CHECK(contains(size, "got 1 x 2"));

  write_png(folders.labels / "b.png", picture(2, 3));
  CHECK(contains(error_of([&] { maps.read(1, {2, 3}); }), "got colours of 8 bits"));
  write_bytes(folders.labels / "b.png", std::vector<uint8_t>{1, 2, 3});
  CHECK(contains(error_of([&] { maps.read(1, {2, 3}); }), "expected a label map as a PNG"));

  CHECK_THROWS_AS(folders.maps(images, {.classes = 0}), Error);
  CHECK_THROWS_AS(folders.maps(images, {.classes = 256}), Error);
  CHECK_THROWS_AS(LabelMaps(images, Paths{folders.images}, Paths{}, {.classes = 2}), Error);
}

TEST_CASE("label maps: labels are classes or none, whatever the rules; others are Errors with file, value and advice") {
  const Folders folders;
  folders.add("a.png", 0);
  write_labels(folders.labels / "a.png", labels_of({0, 1, 2, 3, 255, 3}, 2, 3));
  const Dataset images = folders.open();
  const auto read = [&](const LabelRules& rules) {
    const auto labels_HW = folders.maps(images, rules).read(0, {2, 3}).to(torch::kInt64).flatten();
    return std::vector<int64_t>(labels_HW.const_data_ptr<int64_t>(), labels_HW.const_data_ptr<int64_t>() + 6);
  };
  CHECK(read({.classes = 4}) == std::vector<int64_t>{0, 1, 2, 3, 255, 3});
  CHECK(read({.classes = 3, .ignore_label = 3}) == std::vector<int64_t>{0, 1, 2, 255, 255, 255});
  CHECK(read({.classes = 3, .reduce_zero_label = true}) == std::vector<int64_t>{255, 0, 1, 2, 255, 2});
  CHECK(read({.classes = 2, .reduce_zero_label = true, .ignore_label = 2}) ==
        std::vector<int64_t>{255, 0, 1, 255, 255, 255});
  const auto outside = error_of([&] { read({.classes = 3}); });
  CAPTURE(outside);
  CHECK(contains(outside, (folders.labels / "a.png").string()));
  CHECK(contains(outside, "from 0 to 2, or 255"));
  CHECK(contains(outside, "got 3 in 2 pixels"));
  CHECK(contains(outside, "--ignore-label 3"));
  CHECK(contains(error_of([&] { read({.classes = 2, .reduce_zero_label = true}); }), "got 2 (in the file 3, as 0 is"));
}

#include "data/pack.h"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "base/checksum.h"
#include "data/check.h"
#include "data/shard_index.h"
#include "io/atomic_file.h"
#include "tests/data/samples.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

namespace {

const auto kWrite = [](const fs::path& path, const std::function<void(const ByteSink&)>& writer) {
  write_file_atomically(path, writer);
};
const auto kGoOn = [](int64_t) { return true; };

// 23 pictures in three classes, of which some are damaged, and a folder to pack them into.
struct Pictures {
  TemporaryFolder root;
  fs::path images = root.path / "images", out = root.path / "out";

  explicit Pictures(const std::vector<int64_t>& damaged = {}) {
    fs::create_directories(out);
    for (int64_t i = 0; i < 23; ++i) write(i);
    for (const int64_t i : damaged) write_bytes(path_of(i), std::vector<uint8_t>(100, 'x'));
  }
  fs::path path_of(int64_t i) const { return images / fmt::format("class {}/{:02}.b.png", i % 3, i); }
  void write(int64_t i) const { write_bytes(path_of(i), encode_png(picture(6, 6, static_cast<uint64_t>(i)))); }
  Packed pack(PackOptions options = {}) const {
    if (options.shard_images > 1000) options.shard_images = 5;
    return pack_images(Dataset::open(std::vector{images}), out, options, kWrite, kGoOn);
  }
  Dataset packed() const { return Dataset::open(std::vector{out}); }
  fs::path shard(int64_t i) const { return out / fmt::format("shard-{:06}.tar", i); }

  // All files of the output folder.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(out)) {
      found[entry.path().filename().string()] = file_bytes(entry.path());
    }
    return found;
  }
};

// Bytes and class name of each image, sorted.
std::vector<std::pair<std::vector<uint8_t>, std::string>> content(const Dataset& dataset) {
  std::vector<std::pair<std::vector<uint8_t>, std::string>> all;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const auto label = dataset.label(i);
    all.emplace_back(dataset.read(i), label < 0 ? "" : dataset.classes()[static_cast<size_t>(label)]);
  }
  std::ranges::sort(all);
  return all;
}

void overwrite(const fs::path& path, int64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(offset);
  file << bytes;
}

}  // namespace

TEST_CASE("pack: a packed set holds the same bytes and classes, by its index and by walking alike") {
  const Pictures pictures;
  const auto packed = pictures.pack();
  CHECK(packed.shards == 5);
  CHECK(packed.images == 23);
  CHECK(packed.kept_shards == 0);
  const auto original = Dataset::open(std::vector{pictures.images});
  const auto dataset = pictures.packed();
  CHECK(content(dataset) == content(original));
  CHECK(dataset.classes() == original.classes());
  CHECK(!dataset.numbered_classes());
  for (int64_t i = 0; i < 5; ++i) fs::remove(index_path(pictures.shard(i)));
  const auto walked = pictures.packed();
  REQUIRE(walked.size() == 23);
  CHECK(walked.numbered_classes());
  CHECK(walked.classes() == std::vector<std::string>{"0", "1", "2"});
  for (int64_t i = 0; i < 23; ++i) {
    CHECK(walked.path(i) == dataset.path(i));
    CHECK(walked.read(i) == dataset.read(i));
    CHECK(walked.label(i) == dataset.label(i));
    CHECK(walked.offset(i) == dataset.offset(i));
  }
}

TEST_CASE("pack: archives are plain tar files with a key and a class for each image, in a mixed order") {
  const Pictures pictures;
  pictures.pack();
  const TarFile archive(pictures.shard(0));
  const auto members = archive.members();
  REQUIRE(members.size() == 10);
  CHECK(members[0].name.starts_with("000000000-"));
  CHECK(members[0].name.ends_with("_b.png"));
  CHECK(members[1].name == members[0].name.substr(0, members[0].name.rfind('.')) + ".cls");
  const auto labels = [&](const Dataset& dataset) {
    std::vector<int64_t> all;
    for (int64_t i = 0; i < dataset.size(); ++i) all.push_back(dataset.label(i));
    return all;
  };
  CHECK(!std::ranges::is_sorted(labels(pictures.packed())));
  const Pictures sorted;
  sorted.pack({.shuffle = false});
  CHECK(labels(sorted.packed()) == labels(Dataset::open(std::vector{sorted.images})));
}

TEST_CASE("pack: each member is named by its image's format, whatever the file's name") {
  const Pictures pictures;
  const std::map<std::string, std::string> seeds{{"bmp", "bmp/good-rle8"},
                                                 {"gif", "gif/good-interlaced"},
                                                 {"jpg", "jpeg/good-420"},
                                                 {"png", "png/good-rgb_16"},
                                                 {"webp", "webp/good-lossy"}};
  const auto folder = pictures.root.path / "formats";
  fs::create_directories(folder);
  for (const auto& [ending, seed] : seeds) {
    fs::copy_file(source_folder() / "tests/fuzz/seeds" / seed, folder / (ending + ".JPEG"));
  }
  pack_images(Dataset::open(std::vector{folder}), pictures.out, {.shuffle = false}, kWrite, kGoOn);
  std::vector<std::string> names;
  for (const auto& member : TarFile(pictures.shard(0)).members()) names.push_back(member.name);
  CHECK(names == std::vector<std::string>{"000000000-bmp.bmp", "000000001-gif.gif", "000000002-jpg.jpg",
                                          "000000003-png.png", "000000004-webp.webp"});
  CHECK(content(pictures.packed()) == content(Dataset::open(std::vector{folder})));
  fs::remove(index_path(pictures.shard(0)));
  CHECK(pictures.packed().size() == 5);
}

TEST_CASE("pack: names that are not UTF-8 are refused before anything is written; others come back as they are") {
  const Pictures pictures;
  write_bytes(pictures.images / "class 1 \xc3\xa9\t\"/a.png", encode_png(picture(3, 3)));
  CHECK(contains(error_of([&] { pictures.pack({.name = "caf\xe9"}); }), "expected a name for files in UTF-8"));
  CHECK(pictures.files().empty());
  pictures.pack();
  CHECK(pictures.packed().classes() == Dataset::open(std::vector{pictures.images}).classes());

  const Pictures latin;
  write_bytes(latin.images / "caf\xe9/b.png", encode_png(picture(3, 3)));
  const auto error = error_of([&] { latin.pack(); });
  CHECK(
      contains(error, "images/caf\xe9/b.png: expected a class whose name is UTF-8, got 'caf\xe9'; rename its folder"));
  CHECK(latin.files().empty());
}

TEST_CASE("pack: the number of workers changes nothing, and a set that is there is kept") {
  const Pictures one, many;
  one.pack({.workers = 1});
  many.pack({.workers = 8});
  CHECK(one.files() == many.files());
  const auto again = many.pack({.workers = 3});
  CHECK(again.kept_shards == 5);
  CHECK(again.images == 23);
  CHECK(one.files() == many.files());
  const Pictures other_seed;
  other_seed.pack({.seed = 1});
  CHECK(one.files() != other_seed.files());
}

TEST_CASE("pack: shards stay within their bytes, but for one larger image") {
  const Pictures pictures;
  pictures.pack({.shard_bytes = 8000});
  for (const auto& [name, bytes] : pictures.files()) CHECK((!name.ends_with(".tar") || bytes.size() <= 8000));
  const Pictures alone;
  CHECK(alone.pack({.shard_bytes = 1}).shards == 23);
}

TEST_CASE("pack: images without class and numbered classes stay what they are, also where a class is missing") {
  const Pictures pictures;
  std::string list = "a.png 7\nb.png 2\nc.png\n";
  for (const char* name : {"a.png", "b.png", "c.png"})
    write_bytes(pictures.root.path / name, encode_png(picture(3, 3)));
  write_bytes(pictures.root.path / "list.txt", {reinterpret_cast<const uint8_t*>(list.data()), list.size()});
  const auto listed = Dataset::open(std::vector{pictures.root.path / "list.txt"});
  pack_images(listed, pictures.out, {.shuffle = false}, kWrite, kGoOn);
  const auto dataset = pictures.packed();
  CHECK(dataset.numbered_classes());
  CHECK(dataset.classes().size() == 8);
  CHECK(dataset.label(0) == 7);
  CHECK(dataset.label(1) == 2);
  CHECK(dataset.label(2) == -1);
}

TEST_CASE("pack: part of a set has the numbers of the whole set's classes") {
  const Pictures pictures;
  pictures.pack({.shard_images = 1, .shuffle = false});
  const auto last = Dataset::open(std::vector{pictures.shard(22)});
  CHECK(last.size() == 1);
  CHECK(last.classes().size() == 3);
  CHECK(last.label(0) == 2);
}

TEST_CASE("pack: a damaged image is an error that names it, or left out") {
  const Pictures pictures({4, 11});
  const auto error = error_of([&] { pictures.pack({.workers = 1}); });
  CHECK(contains(error, "expected a JPEG, PNG, WebP, GIF or BMP image"));
  CHECK((contains(error, "04.b.png") || contains(error, "11.b.png")));
  CHECK(contains(error, "--skip-damaged leaves such images out"));
  for (const auto& [name, bytes] : pictures.files()) {
    CAPTURE(name);
    CHECK(!contains(name, ".tmp"));
    if (name.ends_with(".tar")) CHECK_NOTHROW(Dataset::open(std::vector{pictures.out / name}));
  }
  const auto packed = pictures.pack({.skip_damaged = true});
  CHECK(packed.images == 21);
  CHECK(packed.damaged.size() == 2);
  CHECK(pictures.packed().size() == 21);
  CHECK(pictures.pack({.skip_damaged = true}).kept_shards == 5);
}

TEST_CASE("pack: what was cut off leaves whole shards, is not taken for a whole set, and goes on") {
  const Pictures pictures;
  const auto images = Dataset::open(std::vector{pictures.images});
  const auto error = error_of([&] {
    pack_images(images, pictures.out, {.shard_images = 5, .workers = 1}, kWrite,
                [](int64_t done) { return done < 12; });
  });
  CHECK(contains(error, "stopped after 12 of 23 images; the same command goes on"));
  CHECK(pictures.files().size() == 4);
  CHECK(contains(error_of([&] { pictures.packed(); }),
                 "expected all 5 shards of the set shard, got 2, without number 2 or its index"));
  CHECK(Dataset::open(std::vector<fs::path>{pictures.out / "shard-{000000..000001}.tar"}).size() == 10);
  const auto packed = pictures.pack();
  CHECK(packed.kept_shards == 2);
  const Pictures unbroken;
  unbroken.pack();
  CHECK(pictures.files() == unbroken.files());
}

TEST_CASE("pack: shards of other content are not overwritten") {
  const Pictures pictures;
  pictures.pack();
  const auto before = pictures.files();
  const auto refused = [&](PackOptions options, const std::string& message) {
    const auto error = error_of([&] { pictures.pack(options); });
    CAPTURE(error);
    CHECK(contains(error, "expected no archive there, or the one that would be written"));
    CHECK(contains(error, message));
    CHECK(pictures.files() == before);
  };
  refused({.shard_images = 6}, "got one beside these 4 shards");
  refused({.shard_images = 4}, "got one of a set of 5 shards");
  refused({.seed = 1}, "got one of other content");
  CHECK(pictures.pack({.name = "other", .shard_images = 30}).shards == 1);
  for (const char* other : {"shard-val-000000.tar", "shard-00000.tar", "shard-000000.tar.tar", "shardy-000000.tar"}) {
    CAPTURE(other);
    std::ofstream(pictures.out / other) << "other";
    CHECK(pictures.pack().kept_shards == 5);
    fs::remove(pictures.out / other);
  }
  std::ofstream(pictures.out / "shard-1000000.tar") << "other";
  CHECK(contains(error_of([&] { pictures.pack(); }), "shard-1000000.tar: expected no archive there"));
  fs::remove(pictures.out / "shard-1000000.tar");
  CHECK_NOTHROW(pictures.packed());

  fs::remove(index_path(pictures.shard(2)));
  CHECK(contains(error_of([&] { pictures.pack(); }), "shard-000002.tar: expected no archive there"));
  CHECK(contains(error_of([&] { pictures.pack({.name = "a/b"}); }), "expected a name for files"));
  CHECK(contains(error_of([&] { pictures.pack({.workers = 0}); }), "1 worker"));
}

TEST_CASE("pack: a writer that fails leaves nothing") {
  const Pictures pictures;
  const auto images = Dataset::open(std::vector{pictures.images});
  const auto failing = [](const fs::path& path, const std::function<void(const ByteSink&)>& writer) {
    if (path.extension() == ".json") fail("disk full");
    write_file_atomically(path, writer);
  };
  CHECK(error_of([&] { pack_images(images, pictures.out, {}, failing, kGoOn); }) == "disk full");
  CHECK(pictures.files().empty());
}

TEST_CASE("pack: an index whose archive did not come to be is passed over, and the next packing goes on") {
  const Pictures pictures;
  const auto images = Dataset::open(std::vector{pictures.images});
  const auto failing = [](const fs::path& path, const std::function<void(const ByteSink&)>& writer) {
    write_file_atomically(path, [&](const Sink& sink) {
      writer(sink);
      if (path.filename() == "shard-000001.tar") fail("disk full");
    });
  };
  const PackOptions options{.shard_images = 5, .workers = 1};
  CHECK(error_of([&] { pack_images(images, pictures.out, options, failing, kGoOn); }) == "disk full");
  CHECK(fs::exists(index_path(pictures.shard(1))));
  CHECK(!fs::exists(pictures.shard(1)));
  CHECK(contains(error_of([&] { pictures.packed(); }), "expected all 5 shards of the set shard, got 1"));
  std::ofstream(index_path(pictures.shard(1))) << "of other images";
  CHECK(pictures.pack().kept_shards == 1);
  CHECK(content(pictures.packed()) == content(images));
}

TEST_CASE("packed set: a changed byte of an image is an error with archive, member and offset") {
  const Pictures pictures;
  pictures.pack();
  const auto dataset = pictures.packed();
  const int64_t at = dataset.offset(7) + 40;
  overwrite(pictures.shard(1), at, "\x01\x02\x03\x04");
  const auto damaged = pictures.packed();
  const auto error = error_of([&] { damaged.read(7); });
  CHECK(error.starts_with(damaged.path(7) + ": expected bytes of the checksum "));
  CHECK(contains(error, "shard-000001.tar/000000007-"));
  CHECK(contains(error, fmt::format("at offset {}", dataset.offset(7))));
  CHECK_NOTHROW(damaged.read(6));
  const auto checked = check_images(damaged, 0, 23, 3);
  REQUIRE(checked.damaged.size() == 1);
  CHECK(checked.damaged[0].index == 7);
  CHECK(checked.damaged[0].reason == error);
  // Nor does another packing take it for what it would write.
  CHECK(contains(error_of([&] { pictures.pack(); }),
                 "shard-000001.tar: expected no archive there, or the one that would"));
}

TEST_CASE("packed set: an archive that is not the index's is refused") {
  const Pictures pictures;
  pictures.pack();
  const auto whole = file_bytes(pictures.shard(0));
  const auto refused = [&](const std::string& bytes, const std::string& message) {
    write_bytes(pictures.shard(0), {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    const auto error = error_of([&] { pictures.packed(); });
    CAPTURE(error);
    CHECK(contains(error, "shard-000000.tar: expected the archive"));
    CHECK(contains(error, message));
    CHECK(contains(error, "or remove the index to read the archive without it"));
  };
  refused(whole.substr(0, whole.size() - 512), fmt::format("of {} bytes that", whole.size()));
  refused(whole + "x", fmt::format("got {};", whole.size() + 1));
  auto other = whole;
  other[other.size() - 500] ^= 1;
  refused(other, "got another closing block");
  fs::copy_file(pictures.shard(1), pictures.shard(0), fs::copy_options::overwrite_existing);
  CHECK(contains(error_of([&] { pictures.packed(); }), "shard-000000.tar: expected the archive"));
  fs::last_write_time(pictures.shard(1), fs::file_time_type::clock::now() + std::chrono::hours(1));
  CHECK_NOTHROW(Dataset::open(std::vector{pictures.shard(1)}));
}

TEST_CASE("packed set: a damaged index is refused with file and field, and never crashes") {
  const Pictures pictures;
  pictures.pack({.shard_images = 30});
  const auto path = index_path(pictures.shard(0));
  const auto text = file_bytes(path);
  const auto good = nlohmann::ordered_json::parse(text);
  const auto refused_text = [&](const std::string& bytes, const std::string& message) {
    std::ofstream(path) << bytes;
    const auto error = error_of([&] { pictures.packed(); });
    CAPTURE(error);
    CHECK(contains(error, "shard-000000.tar.index.json: "));
    CHECK(contains(error, message));
  };
  const auto refused = [&](const nlohmann::ordered_json& json, const std::string& message) {
    refused_text(json.dump(), message);
  };
  const auto with = [&](const char* key, nlohmann::ordered_json value) {
    auto json = good;
    json[key] = std::move(value);
    return json;
  };
  const auto without = [&](const char* key) {
    auto json = good;
    json.erase(key);
    return json;
  };
  CHECK(good["images"].size() == 23);
  for (const char* key : {"format", "name", "shard", "shards", "archive_bytes", "archive_crc32", "images", "offsets",
                          "sizes", "labels", "crc32"}) {
    CAPTURE(key);
    refused(without(key), fmt::format("expected {}, got none", key));
    refused(with(key, nullptr), key);
    refused(with(key, nlohmann::ordered_json::object()), key);
  }
  refused(with("format", "beit-shard-9"), "expected format beit-shard-1, got 'beit-shard-9'");
  refused(with("shard", 1), "shard: expected a whole number from 0 to 0, got 1");
  refused(with("archive_bytes", 18446744073709551615U), "archive_bytes: expected a whole number");
  refused(with("labels", {1, 2}), "expected 23 offsets, sizes, labels and crc32, got 2");
  refused(with("classes", {"class 0", "class 0", "class 2"}), "classes: expected sorted names");
  refused(with("classes", {"only"}), "labels: expected a whole number from -1 to 0");
  refused(with("classes", 3), "classes: expected a list");
  refused(with("classes", {"class 0", {1}}), "expected lists of numbers and texts, got lists or objects within");
  for (const auto& value : {nlohmann::ordered_json(-1), nlohmann::ordered_json(1.5), nlohmann::ordered_json("1"),
                            nlohmann::ordered_json(int64_t{1} << 60)}) {
    for (const char* key : {"offsets", "sizes", "crc32"}) {
      auto json = good;
      json[key][3] = value;
      refused(json, fmt::format("{}: expected a whole number", key));
    }
  }
  auto outside = good;
  outside["offsets"][3] = good["archive_bytes"].get<int64_t>() - 3;
  refused(outside, "expected images within the archive's");
  const auto end = text.rfind("]}");
  refused_text(text.substr(0, end) + "," + std::string(1000000, '[') + std::string(1000000, ']') + "]}",
               "expected lists of numbers and texts, got lists or objects within");
  refused_text("", "expected a JSON object");
  refused_text("[]", "expected a JSON object");

  Random random(1, 2, 3, Purpose::kAugment);
  for (int trial = 0; trial < 300; ++trial) {
    auto copy = text;
    copy[static_cast<size_t>(random.integer(0, std::ssize(copy)))] = static_cast<char>(random.integer(0, 256));
    if (trial % 3 == 0) copy.resize(static_cast<size_t>(random.integer(0, std::ssize(copy))));
    std::ofstream(path, std::ios::binary) << copy;
    try {
      check_images(pictures.packed(), 0, 1, 1);
    } catch (const Error&) {
    }
  }
}

TEST_CASE("packed set: an index of many keys takes no longer than its size, and one out of proportion is not read") {
  const Pictures pictures;
  pictures.pack({.shard_images = 30});
  const auto path = index_path(pictures.shard(0));
  const auto text = file_bytes(path);
  std::string many = text.substr(0, text.rfind('}'));
  for (int64_t i = 0; i < 400'000; ++i) many += fmt::format(",\"{}\":0", i);
  std::ofstream(path) << many << "}";
  const auto start = std::chrono::steady_clock::now();
  CHECK(pictures.packed().size() == 23);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));

  const auto refuses = [&](int64_t bytes, int64_t archive_bytes) {
    fs::resize_file(path, static_cast<uintmax_t>(bytes));
    return contains(error_of([&] { read_shard_index(path, archive_bytes); }), "bytes of index beside an archive of");
  };
  CHECK(refuses((int64_t{64} << 20) + 4097, 4096));
  CHECK(!refuses((int64_t{64} << 20) + 4096, 4096));
  CHECK(refuses((int64_t{256} << 20) + 1, INT64_MAX));
}

TEST_CASE("check: damaged images are found and told in the dataset's order") {
  const Pictures pictures({19, 4, 11});
  const auto dataset = Dataset::open(std::vector{pictures.images});
  const auto checked = check_images(dataset, 0, 23, 4);
  REQUIRE(checked.damaged.size() == 3);
  int64_t before = -1;
  for (const auto& [index, reason] : checked.damaged) {
    CHECK(index > before);
    CHECK(reason.starts_with(dataset.path(index) + ": expected"));
    before = index;
  }
  int64_t bytes = 0;
  for (int64_t i = 0; i < 23; ++i) bytes += dataset.bytes(i);
  CHECK(checked.bytes == bytes);
  CHECK(check_images(dataset, 23, 0, 1).damaged.empty());
  CHECK_THROWS_AS(check_images(dataset, 20, 4, 1), Error);
}

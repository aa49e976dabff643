#include <doctest/doctest.h>

#include "data/image.h"
#include "io/output_folder.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// Twelve images in two classes.
struct Images {
  TemporaryFolder root;
  std::string images = (root.path / "images").string(), out = (root.path / "deep/out").string();

  Images() {
    for (int64_t i = 0; i < 12; ++i) write_bytes(path(i), encode_png(picture(8, 8, static_cast<uint64_t>(i))));
  }
  fs::path path(int64_t i) const {
    return fs::path(images) / (i % 2 == 0 ? "cat" : "dog") / fmt::format("{:02}.png", i);
  }
  void damage(int64_t i) const { std::ofstream(path(i)) << "damaged"; }
};

TEST_CASE("pack: the program packs, checks and goes on") {
  const Images data;
  const std::vector<std::string> pack{"pack", "--data", data.images, "--output", data.out, "--shard-images", "5"};
  const auto packed = start(pack);
  CAPTURE(packed.err);
  REQUIRE(packed.code == 0);
  CHECK(packed.out.find("12 images, ") != std::string::npos);
  CHECK(packed.out.find(" in 3 archives; written to " + data.out) != std::string::npos);
  CHECK(fs::exists(fs::path(data.out) / "shard-000002.tar.index.json"));
  CHECK(start(pack).out.find("in 3 archives, 3 of which were there") != std::string::npos);

  const auto checked = start({"data", "check", "--data", data.out});
  CHECK(checked.code == 0);
  CHECK(checked.err.empty());
  CHECK(checked.out.starts_with("12 images, 0 damaged, "));
  CHECK(start({"data", "check", "--data", data.out, "--quiet"}).out.empty());
}

TEST_CASE("pack: damaged images end it, or are named and left out") {
  const Images data;
  data.damage(3);
  data.damage(8);
  const auto refused = start({"pack", "--quiet", "--data", data.images, "--output", data.out});
  CHECK(failed_with_one_line(refused));
  CHECK(refused.err.find("--skip-damaged leaves such images out") != std::string::npos);
  CHECK(fs::is_empty(data.out));
  const auto packed = start({"pack", "--data", data.images, "--output", data.out, "--skip-damaged"});
  CHECK(packed.code == 0);
  CHECK(packed.err.find("dog/03.png") != std::string::npos);
  CHECK(packed.err.find("cat/08.png") != std::string::npos);
  CHECK(packed.out.find("10 images") != std::string::npos);
}

TEST_CASE("data check: each damaged image is a line, in order, and the exit code says so") {
  const Images data;
  for (const int64_t i : {3, 8, 1}) data.damage(i);
  const auto checked = start({"data", "check", "--data", data.images, "--workers", "3"});
  CHECK(checked.code == 1);
  const auto at8 = checked.out.find("cat/08.png: expected"), at1 = checked.out.find("dog/01.png: expected"),
             at3 = checked.out.find("dog/03.png: expected"), end = checked.out.find("12 images, 3 damaged, ");
  CHECK(at8 < at1);
  CHECK(at1 < at3);
  CHECK(at3 < end);
  CHECK(end != std::string::npos);
  CHECK(checked.err ==
        "beit: error: data check: expected images that can all be read, got 3 damaged of 12, named above\n");
}

TEST_CASE("pack and data: mistakes are one line") {
  const Images data;
  const auto refused = [](const std::vector<std::string>& words, const std::string& message) {
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"pack", "--data", data.images}, "set --output FOLDER");
  refused({"pack", "--output", data.out}, "set --data PATH");
  refused({"pack", "--data", data.images, "--output", data.images + "/cat/.."}, "a folder apart from what is read");
  refused({"pack", "--data", data.images, "--output", data.path(0).string()}, "expected a folder");
  refused({"pack", "--data", data.images, "--output", data.out, "--shard-images", "0"}, "of at least 1");
  {
    const OutputFolder held(data.out);
    refused({"pack", "--data", data.images, "--output", data.out}, "that another process is writing to");
  }
  refused({"data"}, "expected one of its commands, got none; they are data check");
  refused({"data", "chekc"}, "got 'chekc'");
  refused({"data", "check"}, "set --data PATH");
  refused({"data", "check", "--data", "/none"}, "got nothing there");
  CHECK(start({"data", "--help"}).out == start({"help", "data"}).out);
  CHECK(start({"help", "data"}).out.find("data check") != std::string::npos);
  CHECK(start({"help", "data", "check"}).out == start({"data", "check", "--help"}).out);
  CHECK(start({"data", "check", "--help"}).out.find("Usage: beit data check") != std::string::npos);
}

}  // namespace
}  // namespace beit

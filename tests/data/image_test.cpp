#include "data/image.h"

#include <doctest/doctest.h>

#include "base/random.h"
#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

// The encoded files of golden/decode by name.
std::map<std::string, std::vector<uint8_t>> encoded_images() {
  std::map<std::string, std::vector<uint8_t>> files;
  for (const auto& [name, bytes] : read_safetensors(golden("decode.safetensors")).tensors) {
    if (name.starts_with("in.")) files.emplace(name.substr(3), bytes_of(bytes));
  }
  return files;
}

}  // namespace

TEST_CASE("image: JPEG, PNG and WebP in all their forms decode to Pillow's pixels") {
  const auto expected = read_safetensors(golden("decode.safetensors")).tensors;
  for (const auto& [name, bytes] : encoded_images()) {
    CAPTURE(name);
    CHECK(torch::equal(decode_image(bytes, name), expected.at("out." + name)));
  }
}

TEST_CASE("image: a photograph decodes to Pillow's pixels") {
  const auto folder = shared_file("data/imagenet-sample");
  if (!folder) return;
  for (const std::string name : {"resize", "resize_half"}) {
    const auto file = read_safetensors(golden(name + ".safetensors"));
    std::string image = file.metadata.at("image");
    std::erase(image, '"');
    std::ifstream stream(*folder / image, std::ios::binary);
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(stream), {}};
    CHECK(torch::equal(decode_image(bytes, image), file.tensors.at("in.decoded")));
  }
}

TEST_CASE("image: a truncated file is refused wherever it ends") {
  for (const auto& [name, bytes] : encoded_images()) {
    CAPTURE(name);
    for (size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(size);
      // a copy of its own, so that reading past the end is seen
      const std::vector<uint8_t> start(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK(contains(error_of([&] { decode_image(start, "cut"); }), "cut: expected"));
    }
  }
}

TEST_CASE("image: a damaged file gives pixels of the stated size or an Error") {
  for (const auto& [name, bytes] : encoded_images()) {
    Random random(1, 2, bytes.size(), Purpose::kAugment);
    for (int trial = 0; trial < 200; ++trial) {
      auto damaged = bytes;
      for (int64_t flips = random.integer(1, 9); flips > 0; --flips) {
        damaged[static_cast<size_t>(random.integer(0, std::ssize(damaged)))] ^=
            static_cast<uint8_t>(1 << random.integer(0, 8));
      }
      try {
        require_pixels(decode_image(damaged, name), name);
      } catch (const Error&) {
      }
    }
  }
}

TEST_CASE("image: a header that lies about the size is refused") {
  auto png = encode_png(picture(8, 8));
  // IHDR: width at 16, height at 20, checksum at 29
  SUBCASE("more pixels than any image") {
    png[16] = 0x00, png[17] = 0x0f, png[18] = 0x42, png[19] = 0x40, png[21] = 0x0f;
    const std::array<uint8_t, 4> checksum{0x50, 0xf1, 0x7e, 0x24};
    std::copy(checksum.begin(), checksum.end(), png.begin() + 29);
    CHECK(contains(error_of([&] { decode_image(png, "a.png"); }), "a.png: expected"));
  }
  SUBCASE("no pixels") {
    CHECK(contains(error_of([] { require_size(0, 5, "b.png"); }), "b.png"));
    CHECK(contains(error_of([] { require_size(int64_t{1} << 40, int64_t{1} << 40, "b.png"); }), "b.png"));
  }
  SUBCASE("JPEG of 65500 x 65500") {
    auto jpeg = encoded_images().at("jpeg_420");
    const std::array<uint8_t, 2> frame{0xff, 0xc0};
    const auto at = std::search(jpeg.begin(), jpeg.end(), frame.begin(), frame.end());
    for (int i = 5; i < 9; i += 2) at[i] = 0xff, at[i + 1] = 0xdc;
    CHECK(contains(error_of([&] { decode_image(jpeg, "c.jpg"); }), "c.jpg: expected at most"));
  }
}

TEST_CASE("image: other files are refused by name") {
  CHECK(contains(error_of([] { decode_image({}, "d.jpg"); }),
                 "d.jpg: expected a JPEG, PNG or WebP image, got an empty file"));
  const std::vector<uint8_t> text{'G', 'I', 'F', '8'};
  CHECK(contains(error_of([&] { decode_image(text, "e.gif"); }), "e.gif: expected a JPEG, PNG or WebP image"));
}

TEST_CASE("image: a written picture is read back as it was, or nothing is left of it") {
  const TemporaryFolder folder;
  const auto pixels_HWC = picture(5, 9);
  write_png(folder.path / "a.png", pixels_HWC);
  CHECK(torch::equal(decode_image(encode_png(pixels_HWC), "a"), pixels_HWC));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
  CHECK(contains(error_of([&] { write_png(folder.path / "none/b.png", pixels_HWC); }), "b.png: expected to write"));
  CHECK_THROWS_AS(encode_png(torch::zeros({4, 4, 3})), Error);
  CHECK_THROWS_AS(encode_png(torch::zeros({4, 0, 3}, torch::kUInt8)), Error);
}

#include "data/image.h"

#include <doctest/doctest.h>

#include "base/random.h"
#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

// The encoded files of golden/decode, or of another golden file, by name.
std::map<std::string, std::vector<uint8_t>> encoded_images(const std::string& file = "decode") {
  std::map<std::string, std::vector<uint8_t>> files;
  for (const auto& [name, bytes] : read_safetensors(golden(file + ".safetensors")).tensors) {
    if (name.starts_with("in.")) files.emplace(name.substr(3), bytes_of(bytes));
  }
  return files;
}

// Of both files.
std::map<std::string, std::vector<uint8_t>> all_encoded_images() {
  auto files = encoded_images();
  files.merge(encoded_images("formats"));
  return files;
}

// GIF and BMP end with what no pixel needs: where only that is missing, the picture is whole.
bool may_lack_its_end(const std::string& name) { return name.starts_with("gif") || name.starts_with("bmp"); }

}  // namespace

TEST_CASE("image: JPEG, PNG and WebP in all their forms decode to Pillow's pixels") {
  const auto expected = read_safetensors(golden("decode.safetensors")).tensors;
  for (const auto& [name, bytes] : encoded_images()) {
    CAPTURE(name);
    CHECK(torch::equal(decode_image(bytes, name), expected.at("out." + name)));
  }
}

TEST_CASE("image: every form of PNG, GIF, BMP and animated WebP decodes to Pillow's pixels") {
  const auto expected = read_safetensors(golden("formats.safetensors")).tensors;
  int compared = 0;
  for (const auto& [name, bytes] : encoded_images("formats")) {
    CAPTURE(name);
    CHECK(torch::equal(decode_image(bytes, name), expected.at("out." + name)));
    ++compared;
  }
  CHECK(compared > 60);
}

TEST_CASE("image: what Pillow misreads of BMP is read as the format has it") {
  const auto tensors = read_safetensors(golden("formats.safetensors")).tensors;
  int compared = 0;
  for (const auto& [name, bytes] : tensors) {
    if (!name.starts_with("misread.")) continue;
    CAPTURE(name);
    CHECK(torch::equal(decode_image(bytes_of(bytes), name), tensors.at("right." + name.substr(8))));
    ++compared;
  }
  CHECK(compared == 4);
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
  for (const auto& [name, bytes] : all_encoded_images()) {
    CAPTURE(name);
    const auto whole_HWC = decode_image(bytes, name);
    for (size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(size);
      // a copy of its own, so that reading past the end is seen
      const std::vector<uint8_t> start(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      torch::Tensor pixels_HWC;
      const auto error = error_of([&] { pixels_HWC = decode_image(start, "cut"); });
      if (error.empty() && may_lack_its_end(name)) {
        CHECK(torch::equal(pixels_HWC, whole_HWC));
      } else {
        CHECK(contains(error, "cut: expected"));
      }
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

TEST_CASE("image: a thousand mutated files give pixels or an Error, never anything else") {
  const auto files = all_encoded_images();
  std::vector<std::vector<uint8_t>> originals;
  for (const auto& [name, bytes] : files) originals.push_back(bytes);
  Random random(20, 0, 0, Purpose::kAugment);
  const auto place = [&](const std::vector<uint8_t>& bytes) { return random.integer(0, std::ssize(bytes)); };
  int decoded = 0, refused = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    auto bytes = originals[static_cast<size_t>(random.integer(0, std::ssize(originals)))];
    const auto& other = originals[static_cast<size_t>(random.integer(0, std::ssize(originals)))];
    switch (trial % 4) {
      case 0:  // flipped bits
        for (int64_t flips = random.integer(1, 20); flips > 0; --flips) {
          bytes[static_cast<size_t>(place(bytes))] ^= static_cast<uint8_t>(1 << random.integer(0, 8));
        }
        break;
      case 1: bytes.resize(static_cast<size_t>(place(bytes))); break;
      case 2: {  // a part of another file instead of the rest
        bytes.resize(static_cast<size_t>(place(bytes)));
        bytes.insert(bytes.end(), other.begin() + place(other), other.end());
        break;
      }
      case 3: {  // a part of another file in between
        const auto from = place(other), length = random.integer(0, std::min<int64_t>(40, std::ssize(other) - from) + 1);
        bytes.insert(bytes.begin() + place(bytes), other.begin() + from, other.begin() + from + length);
        break;
      }
    }
    bytes.shrink_to_fit();
    try {
      require_pixels(decode_image(bytes, "mutated"), "decoded");
      ++decoded;
    } catch (const Error& error) {
      CHECK(contains(error.what(), "mutated: expected"));
      ++refused;
    }
  }
  CHECK(decoded > 50);
  CHECK(refused > 500);
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
  SUBCASE("GIF of 65535 x 65535") {
    auto gif = encoded_images("formats").at("gif");
    std::fill_n(gif.begin() + 6, 4, uint8_t{0xff});
    CHECK(contains(error_of([&] { decode_image(gif, "d.gif"); }), "d.gif: expected at most"));
  }
  SUBCASE("BMP of 2^31 rows, and of more than there are bytes") {
    auto bmp = encoded_images("formats").at("bmp_24");
    bmp[25] = 0x7f;
    CHECK(contains(error_of([&] { decode_image(bmp, "e.bmp"); }), "e.bmp: expected at most"));
    bmp[25] = 0, bmp[24] = 100;
    CHECK(contains(error_of([&] { decode_image(bmp, "e.bmp"); }), "e.bmp: expected a whole BMP image"));
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
                 "d.jpg: expected a JPEG, PNG, WebP, GIF or BMP image, got an empty file"));
  const std::vector<uint8_t> text{'G', 'I', 'F', '8'};
  CHECK(
      contains(error_of([&] { decode_image(text, "e.gif"); }), "e.gif: expected a JPEG, PNG, WebP, GIF or BMP image"));
  auto bmp = encoded_images("formats").at("bmp_24");
  bmp[28] = 2;  // bits
  CHECK(contains(error_of([&] { decode_image(bmp, "f.bmp"); }), "f.bmp: expected a BMP image of 1, 4, 8"));
}

TEST_CASE("image: a picture as PNG is read back as it was") {
  const auto pixels_HWC = picture(5, 9);
  CHECK(torch::equal(decode_image(encode_png(pixels_HWC), "a"), pixels_HWC));
  CHECK_THROWS_AS(encode_png(torch::zeros({4, 4, 3})), Error);
  CHECK_THROWS_AS(encode_png(torch::zeros({4, 0, 3}, torch::kUInt8)), Error);
}

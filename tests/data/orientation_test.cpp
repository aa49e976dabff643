#include "data/orientation.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

std::vector<uint8_t> joined(std::initializer_list<std::string> parts) {
  std::vector<uint8_t> bytes;
  for (const auto& part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

template <size_t N>
std::string raw(const char (&text)[N]) {
  return {text, N - 1};
}

// A JPEG file's start whose Exif data is `tiff`.
std::vector<uint8_t> jpeg_with(const std::string& tiff) {
  const size_t length = 8 + tiff.size();
  return joined({raw("\xff\xd8\xff\xe0\x00\x04JF\xff\xe1"),
                 {static_cast<char>(length >> 8), static_cast<char>(length & 255)},
                 raw("Exif\0\0"),
                 tiff,
                 raw("\xff\xda\x00\x02")});
}

}  // namespace

TEST_CASE("orientation: each turns the picture as Pillow does") {
  const auto tensors = read_safetensors(golden("formats.safetensors")).tensors;
  const auto upright_HWC = tensors.at("oriented.1");
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    CHECK(torch::equal(apply_orientation(upright_HWC, orientation),
                       tensors.at("oriented." + std::to_string(orientation))));
  }
  CHECK_THROWS_AS(apply_orientation(upright_HWC, 0), Error);
  CHECK_THROWS_AS(apply_orientation(upright_HWC, 9), Error);
}

TEST_CASE("orientation: it is read from JPEG, PNG and WebP files that Pillow wrote, and is 1 in others") {
  const auto tensors = read_safetensors(golden("formats.safetensors")).tensors;
  int read = 0;
  for (const auto& [name, bytes] : tensors) {
    CAPTURE(name);
    if (name.starts_with("in.")) CHECK(exif_orientation(bytes_of(bytes)) == 1);
    if (!name.starts_with("exif.")) continue;
    CHECK(exif_orientation(bytes_of(bytes)) == name[5] - '0');
    ++read;
  }
  CHECK(read == 6);
  CHECK(exif_orientation({}) == 1);
}

TEST_CASE("orientation: both byte orders are read; what is damaged is 1") {
  const auto little = raw("II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x01\0\0\0\0\0\0\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0");
  const auto big = raw("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x05\0\0");
  CHECK(exif_orientation(jpeg_with(little)) == 8);
  CHECK(exif_orientation(jpeg_with(big)) == 5);
  for (const auto& tiff : {little, big}) {
    const auto bytes = jpeg_with(tiff);
    for (size_t size = 0; size < bytes.size() - 4 - 4; ++size) {  // before the value
      CAPTURE(size);
      const std::vector<uint8_t> start(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK(exif_orientation(start) == 1);
    }
  }
  auto wrong = big;
  wrong[19] = 9;
  CHECK(exif_orientation(jpeg_with(wrong)) == 1);
  wrong[19] = 5, wrong[4] = '\xff';  // a directory beyond the end
  CHECK(exif_orientation(jpeg_with(wrong)) == 1);
  auto bytes = jpeg_with(big);
  bytes[4] = bytes[5] = 0;  // a segment shorter than its length field
  CHECK(exif_orientation(bytes) == 1);
}

TEST_CASE("orientation: any bytes give 1 to 8") {
  for (const auto& [name, bytes] : read_safetensors(golden("formats.safetensors")).tensors) {
    if (!name.starts_with("exif.")) continue;
    Random random(1, 2, static_cast<uint64_t>(bytes.numel()), Purpose::kAugment);
    for (int trial = 0; trial < 500; ++trial) {
      auto damaged = bytes_of(bytes);
      for (int flip = 0; flip < 4; ++flip) {
        damaged[static_cast<size_t>(random.integer(0, std::min<int64_t>(96, std::ssize(damaged))))] =
            static_cast<uint8_t>(random.integer(0, 256));
      }
      damaged.resize(static_cast<size_t>(random.integer(0, std::ssize(damaged) + 1)));
      const std::vector<uint8_t> own(damaged);
      const int orientation = exif_orientation(own);
      REQUIRE((orientation >= 1 && orientation <= 8));
    }
  }
}

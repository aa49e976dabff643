#include <doctest/doctest.h>

#include "tests/fuzz/readers.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;

// Names say what to expect: good-*, bad-*.
TEST_CASE("fuzz: every seed is read or refused as its name says") {
  for (const char* format :
       {"pickle", "zip", "pth", "safetensors", "jpeg", "png", "webp", "gif", "bmp", "tar", "list", "index"}) {
    int good = 0, bad = 0;
    for (const auto& seed : std::filesystem::directory_iterator(source_folder() / "tests/fuzz/seeds" / format)) {
      const std::string name = seed.path().filename().string(), bytes = file_bytes(seed.path());
      CAPTURE(format);
      CAPTURE(name);
      const bool expected = name.starts_with("good-");
      (expected ? good : bad) += 1;
      const bool accepted = reader_of(format)({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
      CHECK(accepted == expected);
    }
    CHECK_MESSAGE(good > 0, format);
    CHECK_MESSAGE(bad > 0, format);
  }
}

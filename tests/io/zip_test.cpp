#include "io/zip.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/io/zip_files.h"
#include "tests/support.h"

using namespace beit;

namespace {

const std::vector<ZipPart> kThree{{"a/one", "1"}, {"a/empty", ""}, {"a/three", "333"}};

std::span<const uint8_t> span_of(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

ZipDirectory read(const std::string& bytes) {
  Allowance allowance(bytes.size());
  return ZipDirectory(span_of(bytes), "a.zip", allowance);
}

std::string content(const std::string& bytes, const std::string& name) {
  const auto directory = read(bytes);
  const ZipMember* const member = directory.find(name);
  REQUIRE(member != nullptr);
  return bytes.substr(member->begin, member->size);
}

void check_refused(const std::string& bytes, const std::string& part) {
  check_refusal([&] { read(bytes); }, "a.zip: archive: ", part);
}

}  // namespace

TEST_CASE("zip: members are found by name where they lie, in both forms") {
  for (const bool zip64 : {false, true}) {
    for (const std::string& comment : {std::string(), std::string("PK\x05\x06 no end"), std::string(65535, 'c')}) {
      const auto bytes = zip_file(kThree, {.zip64 = zip64, .comment = comment});
      for (const auto& part : kThree) CHECK(content(bytes, part.name) == part.data);
      CHECK(read(bytes).members().size() == 3);
      CHECK(read(bytes).find("a") == nullptr);
      CHECK(read(bytes).find("a/two") == nullptr);
    }
  }
  CHECK(read(zip_file({})).members().empty());
  CHECK(content(file_bytes(golden("objects.pth")), "objects/byteorder") == "little");
}

TEST_CASE("zip: a compressed or encrypted member is refused when it is asked for, and not before") {
  const auto bytes = zip_file({{"plain", "1"},
                               {.name = "packed", .data = "12", .method = 8, .unpacked = uint64_t{1} << 31},
                               {.name = "secret", .data = "123", .flags = 1}});
  const auto directory = read(bytes);
  CHECK(directory.find("plain")->stored);
  CHECK_THROWS_WITH_AS(directory.find("packed"),
                       doctest::Contains("a.zip: archive: \"packed\": expected a member that"), Error);
  CHECK_THROWS_WITH_AS(directory.find("secret"), doctest::Contains("compressed or encrypted one at offset "), Error);
}

TEST_CASE("zip: what is no archive, or only a part of one, is refused") {
  check_refused("", "expected its directory at the end, got none in 0 bytes");
  check_refused(std::string(100'000, 'P'), "expected its directory at the end");
  check_refused(zip_file(kThree) + "x", "expected its directory at the end");
  check_refused("x" + zip_file(kThree), "expected an entry of the directory at offset ");
  for (const bool zip64 : {false, true}) {
    const auto whole = zip_file(kThree, {.zip64 = zip64});
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      CHECK_THROWS_AS_MESSAGE(read(whole.substr(0, bytes)), Error, bytes);
    }
  }
  auto parts = zip_file(kThree);
  parts[parts.size() - 14] = 4;  // entries of this part
  check_refused(parts, "expected a whole archive, got a part of one");
}

TEST_CASE("zip: a directory that is not where or what the end says is refused") {
  for (const bool zip64 : {false, true}) {
    const auto with = [&](ZipForm form) {
      form.zip64 = zip64;
      return zip_file(kThree, form);
    };
    check_refused(with({.entries = 40}), "entries in its directory, got 40");
    check_refused(with({.entries = 2}), "expected 2 entries in its directory, got more");
    check_refused(with({.entries = 65000}), "entries in its directory, got 65000");
    check_refused(with({.directory_bytes = 1 << 20}), "expected a directory before offset");
    check_refused(with({.directory_bytes = 100}), "entries in its directory, got 3");
    check_refused(with({.directory_begin = 1 << 20}), "expected a directory before offset");
    check_refused(with({.directory_begin = 0}), "expected an entry of the directory at offset 0");
  }
  check_refused(zip_file(kThree, {.zip64 = true, .entries = ~uint64_t{0}}), "entries in its directory, got 18446744");
  check_refused(zip_file(kThree, {.zip64 = true, .directory_bytes = ~uint64_t{0}}),
                "expected a directory before offset");
  check_refused(zip_file(kThree, {.zip64 = true, .directory_begin = ~uint64_t{0}}),
                "expected a directory before offset");
}

TEST_CASE("zip: entries that lie about where they are, how large or how called are refused") {
  for (const bool zip64 : {false, true}) {
    const auto with = [&](const ZipPart& second) {
      return zip_file({{"first", std::string(100, '1')}, second, {"last", "3"}}, {.zip64 = zip64});
    };
    CHECK(content(with({"b", "22"}), "b") == "22");
    check_refused(with({.name = "b", .data = "22", .size = 3'000}),
                  "\"b\": expected its 3000 bytes before the directory");
    check_refused(with({.name = "b", .data = "22", .size = 0x7fffffff}), "\"b\": expected its 2147483647 bytes");
    check_refused(with({.name = "b", .data = "22", .size = 60}), "\"last\": expected it behind \"b\", which ends");
    check_refused(with({.name = "b", .data = "22", .unpacked = 3}), "\"b\": expected one size, got 2 and 3");
    check_refused(with({.name = "b", .data = "22", .header = 0}),
                  "\"b\": expected its name at offset 30, got \"first\"");
    check_refused(with({.name = "b", .data = "22", .header = 1}),
                  "expected the header of \"b\" at offset 1, got other");
    check_refused(with({.name = "b", .data = "22", .header = 1 << 20}), "got the file's end");
    check_refused(with({.name = "b", .data = "22", .local_name = "c"}), "\"b\": expected its name at offset ");
    check_refused(with({.name = "b\n", .data = "22", .local_name = "c"}), "\"b?\": expected its name at offset ");
  }
  const auto huge = [](ZipPart part) { return zip_file({part}, {.zip64 = true}); };
  check_refused(huge({.name = "b", .data = "22", .size = ~uint64_t{0}}),
                "\"b\": expected its 18446744073709551615 bytes");
  check_refused(huge({.name = "b", .data = "22", .header = ~uint64_t{0}}), "got the file's end");
}

TEST_CASE("zip: a name that comes twice is refused, and so is one place of two names") {
  check_refused(zip_file({{"a", "1"}, {"b", "2"}, {"a", "3"}}),
                "\"a\": expected each name once, got it again at offset ");
  check_refused(zip_file({{"a", "1"}, {.name = "a", .data = "1", .header = 0}}), "expected it behind");
}

TEST_CASE("zip: 64-bit fields that are not there are refused") {
  auto bytes = zip_file({{"a", "1"}}, {.zip64 = true});
  const size_t extra = bytes.find(raw(uint16_t{1}) + raw(uint16_t{24}));
  REQUIRE(extra != std::string::npos);
  bytes[extra + 2] = 16;
  check_refused(bytes, "\"a\": expected its 64-bit sizes at offset ");
  bytes[extra] = 2;  // another kind of field: the 32 bits stand as they are
  check_refused(bytes, "expected the header of \"a\" at offset 4294967295, got the file's end");
}

TEST_CASE("zip: whatever a byte is changed to, the directory is read or refused") {
  for (const bool zip64 : {false, true}) {
    const auto whole = zip_file(kThree, {.zip64 = zip64});
    int refused = 0;
    for (size_t at = 0; at < whole.size(); ++at) {
      for (const int change : {0x01, 0x80, 0xff}) {
        auto changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ change);
        try {
          const auto directory = read(changed);
          for (const auto& member : directory.members()) CHECK(member.begin + member.size <= whole.size());
        } catch (const Error&) {
          ++refused;
        }
      }
    }
    CHECK(refused > 200);
  }
}

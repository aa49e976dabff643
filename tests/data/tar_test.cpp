#include "data/tar.h"

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

const std::vector<uint8_t> kBytes{'p', 'i', 'x', 'e', 'l', 's'};

std::vector<uint8_t> text(const std::string& string) { return {string.begin(), string.end()}; }

// Names of the archive's members; all of them hold kBytes.
std::vector<std::string> names(const std::filesystem::path& path) {
  const TarFile file(path);
  std::vector<std::string> all;
  for (const auto& member : file.members()) {
    CHECK(file.read(member.offset, member.size) == kBytes);
    all.push_back(member.name);
  }
  return all;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("tar: members are found in plain, GNU and pax archives") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.tar";
  const std::string long_name = std::string(120, 'd') + "/" + std::string(140, 'f') + ".png";
  const std::string record = " path=" + long_name + "\n";
  const std::string length = std::to_string(record.size() + 3);
  write_bytes(path, tar({tar_member("folder/", {}, '5'), tar_member("folder/plain.png", kBytes),
                         tar_member("././@LongLink", text(long_name + '\0'), 'L'), tar_member("cut", kBytes),
                         tar_member("pax", text(length + record), 'x'), tar_member("cut", kBytes),
                         tar_member("global", text("11 a=b c=d\n"), 'g'), tar_member("after.png", kBytes),
                         tar_member("soft.png", {}, '2', "after.png"), tar_member("hard.png", {}, '1', "after.png")}));
  CHECK(names(path) == Names{"folder/plain.png", long_name, long_name, "after.png", "hard.png"});
  CHECK(is_tar(path));
}

TEST_CASE("tar: hard links stand in their places, with the bytes of the file they name") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.tar";
  std::vector<std::vector<uint8_t>> members{tar_member("early.png", {}, '1', "file.png"),
                                            tar_member("file.png", kBytes)};
  Names expected{"early.png", "file.png"};
  for (int i = 0; i < 20; ++i) {
    expected.push_back(fmt::format("link {}.png", i));
    members.push_back(tar_member(expected.back(), {}, '1', "file.png"));
    expected.push_back(fmt::format("file {}.png", i));
    members.push_back(tar_member(expected.back(), kBytes));
  }
  write_bytes(path, tar(members));
  CHECK(names(path) == expected);
  write_bytes(path, tar({tar_member("a.png", {}, '1', "a.png")}));
  CHECK(contains(error_of([&] { names(path); }), "expected the target 'a.png' of link 'a.png' in the archive"));
}

TEST_CASE("tar: the name's prefix and sizes in binary are understood") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.tar";
  auto member = tar_member("b.png", kBytes);
  int sum = 0;
  member[345] = 'a';
  std::fill_n(member.begin() + 124, 12, uint8_t{0});
  member[124] = 0x80, member[135] = static_cast<uint8_t>(kBytes.size());
  std::fill_n(member.begin() + 148, 8, uint8_t{' '});
  for (size_t i = 0; i < 512; ++i) sum += member[i];
  const auto digits = fmt::format("{:06o}", sum);
  std::copy(digits.begin(), digits.end(), member.begin() + 148);
  write_bytes(path, tar({member}));
  CHECK(names(path) == Names{"a/b.png"});
}

TEST_CASE("tar: an archive cut anywhere before its closing block is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.tar";
  const auto whole = tar({tar_member("a.png", kBytes), tar_member("b.png", kBytes)});
  for (size_t size = 0; size < whole.size() - 512; size += 61) {
    CAPTURE(size);
    write_bytes(path, std::span(whole).first(size));
    CHECK(contains(error_of([&] { names(path); }), "it is truncated"));
  }
}

TEST_CASE("tar: a damaged archive is an Error with the offset, or reads within the file") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.tar";
  const auto whole = tar({tar_member("a.png", kBytes), tar_member("b.png", kBytes)});
  auto damaged = whole;
  damaged[1024 + 130] ^= 1;
  write_bytes(path, damaged);
  CHECK(contains(error_of([&] { names(path); }), "expected a tar header at 1024"));

  write_bytes(path, tar({tar_member("pax", text("99 path=short\n"), 'x'), tar_member("a.png", kBytes)}));
  CHECK(contains(error_of([&] { names(path); }), "expected pax records at 512"));
  write_bytes(path, tar({tar_member("pax", text("28 size=9000000000000000000\n"), 'x'), tar_member("a.png", kBytes)}));
  CHECK(contains(error_of([&] { names(path); }), "it is truncated"));
  write_bytes(path, tar({tar_member("a.png", {}, '1', "none.png")}));
  CHECK(contains(error_of([&] { names(path); }), "target 'none.png'"));

  Random random(1, 2, 3, Purpose::kAugment);
  for (int trial = 0; trial < 500; ++trial) {
    auto copy = whole;
    copy[static_cast<size_t>(random.integer(0, std::ssize(copy)))] = static_cast<uint8_t>(random.integer(0, 256));
    write_bytes(path, copy);
    try {
      const TarFile file(path);
      for (const auto& member : file.members()) file.read(member.offset, member.size);
    } catch (const Error&) {
    }
  }
  CHECK_THROWS_AS(TarFile(path).read(INT64_MAX, INT64_MAX), Error);
  CHECK_THROWS_AS(TarFile(folder.path / "none.tar"), Error);
}

#include "data/tar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace beit {
namespace {

constexpr int64_t kBlock = 512;
constexpr int64_t kLongestName = 1 << 20;  // bytes of a member that holds a long name
constexpr int64_t kUnresolved = -1;        // the offset of a hard link until its file is known

using Header = std::array<char, kBlock>;

std::string_view text(const Header& header, size_t offset, size_t length) {
  const std::string_view field(header.data() + offset, length);
  return field.substr(0, field.find('\0'));
}

// Octal digits, or big-endian binary where the first bit is set (GNU). Nothing where it is no number.
std::optional<int64_t> number(const Header& header, size_t offset, size_t length) {
  if ((header[offset] & '\x80') != 0) {
    int64_t value = header[offset] & 0x7f;
    for (size_t i = 1; i < length; ++i) {
      if (value > (INT64_MAX >> 8)) return std::nullopt;
      value = (value << 8) | static_cast<uint8_t>(header[offset + i]);
    }
    return value;
  }
  auto digits = text(header, offset, length);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  digits = digits.substr(0, digits.find(' '));
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
  return value;
}

bool checksum_holds(const Header& header) {
  constexpr size_t kAt = 148, kLength = 8;
  int64_t sum = 0;
  for (size_t i = 0; i < header.size(); ++i) {
    sum += i >= kAt && i < kAt + kLength ? ' ' : static_cast<uint8_t>(header[i]);
  }
  return number(header, kAt, kLength) == sum;
}

std::string header_name(const Header& header) {
  std::string name(text(header, 0, 100));
  const bool is_ustar = std::memcmp(header.data() + 257, "ustar\0", 6) == 0;
  if (is_ustar && header[345] != '\0') name = fmt::format("{}/{}", text(header, 345, 155), name);
  return name;
}

// What extended headers say of the next member.
struct Extension {
  std::optional<std::string> name, link;
  std::optional<int64_t> size;
};

// Records "<length> <key>=<value>\n". False where one is no such record.
bool read_pax(std::string_view records, Extension& extension) {
  while (!records.empty()) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto start = static_cast<size_t>(end - records.data()) + 1;
    if (error != std::errc() || length > records.size() || start >= length || records[length - 1] != '\n') return false;
    const auto record = records.substr(start, length - 1 - start);
    records.remove_prefix(length);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    const auto key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") extension.name = value;
    if (key == "linkpath") extension.link = value;
    if (key == "size") {
      int64_t size = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || size < 0) return false;
      extension.size = size;
    }
  }
  return true;
}

std::string up_to_zero(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), std::find(bytes.begin(), bytes.end(), uint8_t{0})};
}

}  // namespace

TarFile::TarFile(const std::filesystem::path& path)
    : name_(path.string()), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  const bool opened = descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0;
  if (!opened) {
    const bool opened_too_many = errno == EMFILE || errno == ENFILE;
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    fail("{}: expected a readable archive, got: {}{}", name_, reason,
         opened_too_many ? "; `ulimit -n` lets more files be open, larger shards need fewer" : "");
  }
  size_ = status.st_size;
}

TarFile::~TarFile() { ::close(descriptor_); }

std::vector<uint8_t> TarFile::read(int64_t offset, int64_t size) const {
  require(offset >= 0 && size >= 0 && size <= size_ - offset,
          "{}: expected {} bytes at {}, got a file of {}; it is truncated", name_, size, offset, size_);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  for (int64_t done = 0; done < size;) {
    const auto got = ::pread(descriptor_, bytes.data() + done, static_cast<size_t>(size - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    require(got > 0, "{}: expected {} bytes at {}, got {}", name_, size, offset,
            got < 0 ? std::strerror(errno) : "the end of the file");
    done += got;
  }
  return bytes;
}

void TarFile::prefetch(int64_t offset, int64_t size) const {
  // Advice only: what a system makes of it changes nothing but time.
  static_cast<void>(::posix_fadvise(descriptor_, offset, size, POSIX_FADV_WILLNEED));
}

std::vector<TarMember> TarFile::members() const {
  std::vector<TarMember> members;
  std::vector<std::pair<size_t, std::string>> links;  // places in `members`, and what they name
  Extension extension;
  for (int64_t at = 0;;) {
    require(size_ - at >= kBlock,
            "{}: expected a member or the closing block at {}, got the end of the file; it is truncated", name_, at);
    const auto block = read(at, kBlock);
    Header header{};
    std::memcpy(header.data(), block.data(), block.size());
    if (std::all_of(header.begin(), header.end(), [](char byte) { return byte == '\0'; })) break;

    const auto stated_size = number(header, 124, 12);
    const bool is_gzip = at == 0 && header[0] == '\x1f' && header[1] == '\x8b';
    require(checksum_holds(header) && stated_size, "{}: expected a tar header at {}, got other bytes; it is {}", name_,
            at, is_gzip ? "compressed: unpack it with gunzip" : "damaged");
    const char type = header[156];
    const bool is_extension = type == 'L' || type == 'K' || type == 'x' || type == 'g';
    const int64_t size = is_extension ? *stated_size : extension.size.value_or(*stated_size);
    const int64_t start = at + kBlock;
    require(size <= size_ - start,
            "{}: expected the {} bytes of the member at {}, got a file of {} bytes; it is truncated", name_, size, at,
            size_);
    at = start + size + (kBlock - size % kBlock) % kBlock;

    if (is_extension) {
      require(size <= kLongestName, "{}: expected at most {} bytes of extended header at {}, got {}; it is damaged",
              name_, kLongestName, start - kBlock, size);
      const auto bytes = read(start, size);
      if (type == 'L') extension.name = up_to_zero(bytes);
      if (type == 'K') extension.link = up_to_zero(bytes);
      require(type != 'x' || read_pax({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, extension),
              "{}: expected pax records at {}, got other bytes; it is damaged", name_, start);
      continue;
    }
    const Extension own = std::exchange(extension, {});
    std::string name = own.name.value_or(header_name(header));
    if (type == '0' || type == '\0' || type == '7') members.push_back({std::move(name), start, size});
    if (type == '1') {
      links.emplace_back(members.size(), own.link.value_or(std::string(text(header, 157, 100))));
      members.push_back({.name = std::move(name), .offset = kUnresolved});
    }
  }
  if (links.empty()) return members;
  std::unordered_map<std::string_view, size_t> places;  // of files, by name
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].offset != kUnresolved) places.insert_or_assign(members[i].name, i);
  }
  for (const auto& [place, target] : links) {
    TarMember& link = members[place];
    const auto found = places.find(target);
    require(found != places.end(), "{}: expected the target '{}' of link '{}' in the archive, got none", name_, target,
            link.name);
    link.offset = members[found->second].offset;
    link.size = members[found->second].size;
  }
  return members;
}

bool is_tar(const std::filesystem::path& path) {
  Header header{};
  std::ifstream file(path, std::ios::binary);
  return file.read(header.data(), kBlock) && header[0] != '\0' && checksum_holds(header);
}

}  // namespace beit

#include "io/zip.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "io/mapped_file.h"

namespace beit {
namespace {

constexpr std::string_view kRemedy = "the file is damaged: fetch or save it again";
constexpr uint64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46, kLocalBytes = 30;
constexpr uint64_t kLongestComment = 0xffff;
constexpr uint32_t kEnd = 0x06054b50, kLocator = 0x07064b50, kEnd64 = 0x06064b50, kEntry = 0x02014b50,
                   kLocal = 0x04034b50;
constexpr uint16_t kIn64 = 0x0001;    // the extra field for what 32 bits do not hold
constexpr uint16_t kEncrypted = 0x1;  // a flag
constexpr uint32_t kSee64 = 0xffffffff;

/// Where the entries are, and how many.
struct Extent {
  uint64_t begin, end, entries;
};

class DirectoryReader {
 public:
  DirectoryReader(std::span<const uint8_t> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::vector<ZipMember> read(Allowance& allowance) const {
    const Extent directory = find_directory();
    std::vector<ZipMember> members;
    require(directory.entries <= (directory.end - directory.begin) / kEntryBytes &&
                allowance.take(directory.entries * sizeof(ZipMember)),
            "{}: archive: expected at most {} entries in its directory, got {} at offset {}; {}", file_,
            (directory.end - directory.begin) / kEntryBytes, directory.entries, directory.begin, kRemedy);
    members.reserve(directory.entries);
    uint64_t at = directory.begin;
    for (uint64_t i = 0; i < directory.entries; ++i) members.push_back(read_entry(at, directory));
    require(at == directory.end, "{}: archive: expected {} entries in its directory, got more at offset {}; {}", file_,
            directory.entries, at, kRemedy);
    return members;
  }

 private:
  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> message, Args&&... args) const {
    fail("{}: archive: {}; {}", file_, fmt::format(message, std::forward<Args>(args)...), kRemedy);
  }

  /// The record of that length and signature.
  std::span<const uint8_t> record(uint64_t at, uint64_t bytes, uint32_t signature, std::string_view what) const {
    if (at > bytes_.size() || bytes > bytes_.size() - at || number<uint32_t>(bytes_, at) != signature) {
      damaged("expected {} at offset {}, got {}", what, at, at >= bytes_.size() ? "the file's end" : "other bytes");
    }
    return bytes_.subspan(at, bytes);
  }

  /// Little-endian; the caller knows that it lies within.
  template <class Number>
  static Number number(std::span<const uint8_t> record, uint64_t at) {
    static_assert(std::endian::native == std::endian::little);
    Number value;
    std::memcpy(&value, record.subspan(at, sizeof value).data(), sizeof value);
    return value;
  }

  /// The end record is the last thing in the file, but for a comment whose length it states.
  uint64_t find_end() const {
    for (uint64_t comment = 0; comment <= kLongestComment && comment + kEndBytes <= bytes_.size(); ++comment) {
      const uint64_t at = bytes_.size() - comment - kEndBytes;
      if (number<uint32_t>(bytes_, at) == kEnd && number<uint16_t>(bytes_, at + 20) == comment) return at;
    }
    damaged("expected its directory at the end, got none in {} bytes", bytes_.size());
  }

  Extent find_directory() const {
    const uint64_t end_at = find_end();
    const auto end = record(end_at, kEndBytes, kEnd, "an end record");
    uint64_t bytes = number<uint32_t>(end, 12), begin = number<uint32_t>(end, 16), entries = number<uint16_t>(end, 10);
    uint64_t behind = end_at;  // the directory lies before it
    bool whole = number<uint16_t>(end, 8) == entries;
    if (end_at >= kLocatorBytes && number<uint32_t>(bytes_, end_at - kLocatorBytes) == kLocator) {
      behind = number<uint64_t>(bytes_, end_at - kLocatorBytes + 8);
      const auto end64 = record(behind, kEnd64Bytes, kEnd64, "a zip64 end record");
      entries = number<uint64_t>(end64, 32);
      bytes = number<uint64_t>(end64, 40);
      begin = number<uint64_t>(end64, 48);
      whole = number<uint64_t>(end64, 24) == entries;
    }
    if (!whole) damaged("expected a whole archive, got a part of one at offset {}", end_at);
    if (begin > behind || bytes > behind - begin) {
      damaged("expected a directory before offset {}, got {} bytes at offset {}", behind, bytes, begin);
    }
    return {begin, begin + bytes, entries};
  }

  /// The entry at `at`, which moves behind it.
  ZipMember read_entry(uint64_t& at, const Extent& directory) const {
    const auto fixed = record(at, kEntryBytes, kEntry, "an entry of the directory");
    const uint64_t name_bytes = number<uint16_t>(fixed, 28), extra_bytes = number<uint16_t>(fixed, 30),
                   comment_bytes = number<uint16_t>(fixed, 32);
    const uint64_t bytes = kEntryBytes + name_bytes + extra_bytes + comment_bytes;
    if (at + bytes > directory.end) damaged("expected an entry of {} bytes at offset {}, got fewer", bytes, at);
    ZipMember member{.name = text(at + kEntryBytes, name_bytes),
                     .header = number<uint32_t>(fixed, 42),
                     .size = number<uint32_t>(fixed, 20)};
    uint64_t unpacked = number<uint32_t>(fixed, 24);
    read_extra(bytes_.subspan(at + kEntryBytes + name_bytes, extra_bytes), member, unpacked, at);
    const bool encrypted = (number<uint16_t>(fixed, 8) & kEncrypted) != 0;
    member.stored = number<uint16_t>(fixed, 10) == 0 && !encrypted;
    if (member.stored && member.size != unpacked) {
      damaged("{}: expected one size, got {} and {} at offset {}", printable(member.name), member.size, unpacked, at);
    }
    find_data(member, directory);
    at += bytes;
    return member;
  }

  /// The 64-bit fields for those of 32 bits that say so, in their order.
  void read_extra(std::span<const uint8_t> extra, ZipMember& member, uint64_t& unpacked, uint64_t entry_at) const {
    uint64_t* wanted[] = {&unpacked, &member.size, &member.header};
    for (uint64_t at = 0; at + 4 <= extra.size();) {
      const uint64_t bytes = number<uint16_t>(extra, at + 2), end = at + 4 + bytes;
      if (end > extra.size()) break;
      if (number<uint16_t>(extra, at) == kIn64) {
        uint64_t field = at + 4;
        for (uint64_t* const value : wanted) {
          if (*value != kSee64) continue;
          if (field + sizeof(uint64_t) > end) {
            damaged("{}: expected its 64-bit sizes at offset {}, got fewer", printable(member.name), entry_at);
          }
          *value = number<uint64_t>(extra, field);
          field += sizeof(uint64_t);
        }
        return;
      }
      at = end;
    }
  }

  /// The local header says where the bytes begin; sizes stand in the directory.
  void find_data(ZipMember& member, const Extent& directory) const {
    const std::string name = printable(member.name);
    const auto local = record(member.header, kLocalBytes, kLocal, "the header of " + name);
    const uint64_t name_bytes = number<uint16_t>(local, 26), extra_bytes = number<uint16_t>(local, 28);
    member.begin = member.header + kLocalBytes + name_bytes + extra_bytes;
    if (member.begin > directory.begin || member.size > directory.begin - member.begin) {
      damaged("{}: expected its {} bytes before the directory at offset {}, got them at offset {}", name, member.size,
              directory.begin, member.begin);
    }
    if (text(member.header + kLocalBytes, name_bytes) != member.name) {
      damaged("{}: expected its name at offset {}, got {}", name, member.header + kLocalBytes,
              printable(text(member.header + kLocalBytes, name_bytes)));
    }
  }

  std::string_view text(uint64_t at, uint64_t bytes) const {
    return {reinterpret_cast<const char*>(bytes_.subspan(at, bytes).data()), bytes};
  }

  std::span<const uint8_t> bytes_;
  const std::string& file_;
};

}  // namespace

ZipDirectory::ZipDirectory(std::span<const uint8_t> bytes, std::string file, Allowance& allowance)
    : file_(std::move(file)), members_(DirectoryReader(bytes, file_).read(allowance)) {
  std::ranges::sort(members_, {}, &ZipMember::header);
  for (size_t i = 1; i < members_.size(); ++i) {
    const ZipMember &before = members_[i - 1], &member = members_[i];
    require(member.header >= before.begin + before.size,
            "{}: archive: {}: expected it behind {}, which ends at offset {}, got it at offset {}; {}", file_,
            printable(member.name), printable(before.name), before.begin + before.size, member.header, kRemedy);
  }
  std::ranges::sort(members_, {}, &ZipMember::name);
  const auto twice = std::ranges::adjacent_find(members_, {}, &ZipMember::name);
  if (twice != members_.end()) {
    fail("{}: archive: {}: expected each name once, got it again at offset {}; {}", file_, printable(twice->name),
         (twice + 1)->header, kRemedy);
  }
}

const ZipMember* ZipDirectory::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(members_, name, {}, &ZipMember::name);
  if (found == members_.end() || found->name != name) return nullptr;
  require(found->stored,
          "{}: archive: {}: expected a member that is stored as it is, got a compressed or encrypted one at offset {}; "
          "PyTorch stores them: save the file again",
          file_, printable(name), found->header);
  return &*found;
}

}  // namespace beit

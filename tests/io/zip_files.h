// Zip archives put together by hand, to lie about one thing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/io/files.h"

namespace beit {

/// A member; what is set beside its name and data is said of it in place of the truth.
struct ZipPart {
  std::string name, data;
  uint16_t method = 0, flags = 0;
  std::optional<uint64_t> size = {}, unpacked = {}, header = {};
  std::optional<std::string> local_name = {};
};

struct ZipForm {
  bool zip64 = false, aligned = true;  ///< 64-bit fields for all; data at multiples of 64
  std::string comment = {};
  std::optional<uint64_t> entries = {}, directory_bytes = {}, directory_begin = {};
};

inline std::string zip_file(const std::vector<ZipPart>& parts, const ZipForm& form = {}) {
  const auto length = [](const std::string& text) { return raw(static_cast<uint16_t>(text.size())); };
  const std::string none4(4, '\0');
  std::string file, directory;
  for (const ZipPart& part : parts) {
    const uint64_t header = part.header.value_or(file.size());
    const std::string local = part.local_name.value_or(part.name);
    std::string padding;
    if (form.aligned) {
      const size_t begin = file.size() + 30 + local.size() + 4;
      padding.assign((64 - begin % 64) % 64, 'Z');
      padding = "FB" + length(padding) + padding;
    }
    // PyTorch states sizes in the directory only.
    file += "PK\x03\x04" + raw(uint16_t{0}) + raw(part.flags) + raw(part.method) + std::string(16, '\0') +
            length(local) + length(padding) + local + padding + part.data;

    const uint64_t size = part.size.value_or(part.data.size()), unpacked = part.unpacked.value_or(size);
    const auto field = [&](uint64_t value) { return raw(form.zip64 ? ~uint32_t{0} : static_cast<uint32_t>(value)); };
    const std::string wide = raw(unpacked) + raw(size) + raw(header);
    const std::string extra = form.zip64 ? raw(uint16_t{1}) + length(wide) + wide : "";
    directory += "PK\x01\x02" + none4 + raw(part.flags) + raw(part.method) + none4 + none4 + field(size) +
                 field(unpacked) + length(part.name) + length(extra) + raw(uint16_t{0}) + none4 + none4 +
                 field(header) + part.name + extra;
  }
  const uint64_t begin = form.directory_begin.value_or(file.size()),
                 bytes = form.directory_bytes.value_or(directory.size()), entries = form.entries.value_or(parts.size());
  file += directory;
  if (form.zip64) {
    const uint64_t end64 = file.size();
    file += "PK\x06\x06" + raw(uint64_t{44}) + none4 + none4 + none4 + raw(entries) + raw(entries) + raw(bytes) +
            raw(begin) + "PK\x06\x07" + none4 + raw(end64) + raw(uint32_t{1});
  }
  const auto short_entries = static_cast<uint16_t>(entries);
  return file + "PK\x05\x06" + none4 + raw(short_entries) + raw(short_entries) + raw(static_cast<uint32_t>(bytes)) +
         raw(static_cast<uint32_t>(begin)) + length(form.comment) + form.comment;
}

}  // namespace beit

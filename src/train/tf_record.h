// Records of an event file, in TFRecord's form: length, its checksum, the message, its checksum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace beit {

/// The message as a record.
std::string tf_record(const std::string& message);

/// Reads the records of a file in their order.
class TfRecordReader {
 public:
  explicit TfRecordReader(const std::filesystem::path& path) : file_(path, std::ios::binary) {}

  /// The next message; nothing at the end, before a record that is not whole or whose checksum is another, and before
  /// one of more than 64 MiB.
  std::optional<std::string> next();

 private:
  std::ifstream file_;
};

}  // namespace beit

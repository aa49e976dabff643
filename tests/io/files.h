// Files for the tests of this level, written byte by byte.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "base/error.h"

namespace beit {

inline void put_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::remove(path);  // some file systems wait for the disk when a file is shortened and written again
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// A number as it lies in memory, which is little-endian.
template <class Number>
std::string raw(Number number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

/// Checks that reading fails with one line that starts with `start` and says `part`.
template <class Read>
void check_refusal(const Read& read, std::string_view start, std::string_view part) {
  CAPTURE(part);
  try {
    read();
    FAIL_CHECK("accepted");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.starts_with(start));
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
    CHECK(message.find('\n') == std::string::npos);
  }
}

inline int64_t count_files(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

}  // namespace beit

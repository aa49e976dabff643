#include "train/tf_record.h"

#include <array>
#include <string_view>
#include <utility>

namespace beit {
namespace {

/// CRC-32C (Castagnoli), least significant bit first, byte by byte.
constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0U);
    table[byte] = crc;
  }
  return table;
}();

/// Rotated and shifted, as TFRecord files hold it.
uint32_t masked_crc32c(std::string_view bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes) crc = kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ crc >> 8;
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

template <class Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(Number); ++i) bytes += static_cast<char>(number >> 8 * i & 0xff);
  return bytes;
}

template <class Number>
Number number_at(std::string_view bytes) {
  Number number = 0;
  for (size_t i = 0; i < sizeof(Number); ++i) number |= Number{static_cast<uint8_t>(bytes[i])} << 8 * i;
  return number;
}

}  // namespace

std::string tf_record(const std::string& message) {
  const std::string length = little_endian<uint64_t>(message.size());
  return length + little_endian(masked_crc32c(length)) + message + little_endian(masked_crc32c(message));
}

std::optional<std::string> TfRecordReader::next() {
  constexpr uint64_t kMostBytes = 64U << 20U;
  constexpr size_t kLength = sizeof(uint64_t), kSum = sizeof(uint32_t);
  const auto read = [&](size_t bytes) {
    std::string text(bytes, '\0');
    file_.read(text.data(), static_cast<std::streamsize>(bytes));
    return file_.gcount() == static_cast<std::streamsize>(bytes) ? text : std::string();
  };
  const std::string head = read(kLength + kSum);
  if (head.empty()) return std::nullopt;
  const std::string_view length = std::string_view(head).substr(0, kLength);
  const auto bytes = number_at<uint64_t>(length);
  if (number_at<uint32_t>(std::string_view(head).substr(kLength)) != masked_crc32c(length) || bytes > kMostBytes)
    return std::nullopt;
  std::string message = read(static_cast<size_t>(bytes) + kSum);
  if (message.empty()) return std::nullopt;
  const auto sum = number_at<uint32_t>(std::string_view(message).substr(static_cast<size_t>(bytes)));
  message.resize(static_cast<size_t>(bytes));
  return sum == masked_crc32c(message) ? std::optional(std::move(message)) : std::nullopt;
}

}  // namespace beit

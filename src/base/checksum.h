// CRC-32 as in zip, PNG and Python's zlib.crc32.
#pragma once

#include <cstdint>
#include <span>

namespace beit {

/// Of the bytes after those whose checksum is `before`.
uint32_t crc32(std::span<const uint8_t> bytes, uint32_t before = 0);

}  // namespace beit

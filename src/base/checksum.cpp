#include "base/checksum.h"

#include <zlib.h>  // comes with libpng, which needs it

namespace beit {

uint32_t crc32(std::span<const uint8_t> bytes, uint32_t before) {
  return static_cast<uint32_t>(crc32_z(before, bytes.data(), bytes.size()));
}

}  // namespace beit

// The readers of foreign files, each as one function of bytes: for libFuzzer and for the test of its seeds.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace beit {

/// Reads the bytes and touches every value. True where they were accepted, false where the reader refused them by an
/// Error; anything else that is thrown is a fault.
using Reader = bool (*)(std::span<const uint8_t> bytes);

/// `pickle`, `zip`, `pth`, `safetensors`, `jpeg`, `png`, `webp`, `gif`, `bmp`, `tar`, `list` or `index`.
Reader reader_of(std::string_view format);

}  // namespace beit

// A number that tells whether two inputs are the same: FNV-1a, 64 bits. Guards against mistakes, not against intent.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace beit {

/// Of all that is added, one after another.
class Fingerprint {
 public:
  void add(std::span<const uint8_t> bytes) {
    for (const uint8_t byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001b3ULL;
  }
  void add(std::string_view text) { add({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace beit

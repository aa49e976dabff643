// How much memory the content of a foreign file may cost.
#pragma once

#include <cstdint>

namespace beit {

/// What reading one file may allocate in all: its size and 56 MiB. A reader takes from it before it allocates, a little
/// more than it needs and without giving back, so that no file, however it was made, costs more than 64 MiB above its
/// size.
class Allowance {
 public:
  explicit Allowance(uint64_t file_bytes) : left_(file_bytes + (uint64_t{56} << 20)) {}

  /// False where so much is not left: the caller's error says where in the file.
  [[nodiscard]] bool take(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }

 private:
  uint64_t left_;
};

}  // namespace beit

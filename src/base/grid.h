// The arrangement of an image's patches.
#pragma once

#include <cstdint>

namespace beit {

/// Rows and columns of patches; patches are numbered row by row.
struct Grid {
  int64_t rows = 14;
  int64_t columns = 14;

  int64_t patches() const { return rows * columns; }
  bool operator==(const Grid&) const = default;
};

}  // namespace beit

// Sizes and parts of images.
#pragma once

#include <cstdint>

namespace beit {

struct ImageSize {
  int64_t height = 224, width = 224;
  bool operator==(const ImageSize&) const = default;
};

/// A part of an image, in pixels.
struct Box {
  int64_t top = 0, left = 0, height = 0, width = 0;
  bool operator==(const Box&) const = default;
};

/// A part of an image whose edges may lie within pixels: pixel (y, x) covers [y, y + 1) by [x, x + 1).
struct Region {
  double top = 0, left = 0, height = 0, width = 0;
  bool operator==(const Region&) const = default;
};

inline Region region_of(const Box& box) {
  return {static_cast<double>(box.top), static_cast<double>(box.left), static_cast<double>(box.height),
          static_cast<double>(box.width)};
}

}  // namespace beit

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
  bool is_empty() const { return height == 0 || width == 0; }
  bool operator==(const Box&) const = default;
};

inline Box whole_of(const ImageSize& size) { return {0, 0, size.height, size.width}; }

/// Whether `inner`, which may be empty, lies within `outer`.
inline bool contains(const Box& outer, const Box& inner) {
  return inner.height >= 0 && inner.width >= 0 && inner.top >= outer.top && inner.left >= outer.left &&
         inner.height <= outer.height && inner.width <= outer.width &&
         inner.top - outer.top <= outer.height - inner.height && inner.left - outer.left <= outer.width - inner.width;
}

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

// Anti-aliased resizing, equal to Pillow's at every pixel: two passes, columns first, weights of 22 bits, each pass
// rounded to a byte. One thread; no LibTorch kernel, whose weights are coarser and whose loops would start threads.
#pragma once

#include <torch/torch.h>

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

enum class Filter { kBox, kBilinear, kBicubic, kLanczos };

/// Pillow's crop(box).resize(size): pixels outside of the box do not count.
torch::Tensor resize(const torch::Tensor& pixels_HWC, const Box& box, const ImageSize& size, Filter filter);

/// The published evaluation view: the whole image, scaled by bicubic filter until it just covers size / 0.875 (the size
/// itself from 384 on; the longer side truncated), of which the centre is taken, its offset rounded half to even.
/// Unlike there, an image of exactly this size is taken as it is: it was cut to size before.
torch::Tensor evaluation_view(const torch::Tensor& pixels_HWC, const ImageSize& size);

}  // namespace beit

// Anti-aliased resizing, equal to Pillow's at every pixel: two passes, columns first, weights of 22 bits, each pass
// rounded to a byte. One thread; no LibTorch kernel, whose weights are coarser and whose loops would start threads.
#pragma once

#include <torch/torch.h>

#include "data/box.h"

namespace beit {

enum class Filter { kBox, kBilinear, kBicubic, kLanczos };

/// Pillow's crop(box).resize(size): pixels outside of the box do not count.
torch::Tensor resize(const torch::Tensor& pixels_HWC, const Box& box, const ImageSize& size, Filter filter);

/// What a view shows of a picture: `window` of what `region` becomes when it is scaled to `scaled`.
struct Cut {
  Region region;
  ImageSize scaled;
  Box window;
};

/// A whole region, scaled.
inline Cut cut_of(const Region& region, const ImageSize& size) {
  return {region, size, {0, 0, size.height, size.width}};
}

/// The cut of a part of the picture whose first pixel is the picture's (top, left), and which holds all pixels that
/// the cut needs. uint8 planes [3, H, W], left and right swapped where `mirrored`.
torch::Tensor resize_to_planes(const torch::Tensor& part_HWC, int64_t top, int64_t left, const Cut& cut, Filter filter,
                               bool mirrored = false);

/// The pixels that a cut needs.
Box source_of(const Cut& cut, Filter filter);

/// The published evaluation view: the whole image, scaled by bicubic filter until it just covers size / 0.875 (the size
/// itself from 384 on; the longer side truncated), of which the centre is taken, its offset rounded half to even.
/// Unlike there, an image of exactly this size is taken as it is: it was cut to size before.
torch::Tensor evaluation_pixels(const torch::Tensor& pixels_HWC, const ImageSize& size);

/// Its cut of an image of another size.
Cut evaluation_cut(const ImageSize& image, const ImageSize& size);

}  // namespace beit

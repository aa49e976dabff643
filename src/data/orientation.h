// How a camera was held: the orientation tag that an encoded image may carry, and the picture turned upright by it.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>

namespace beit {

/// The orientation, 1 to 8, that Exif data in a JPEG (APP1), PNG (eXIf) or WebP (EXIF) file names; 1, upright, where
/// there is none, where it is damaged, and for other formats. Reads no pixels; never throws.
int exif_orientation(std::span<const uint8_t> bytes);

/// The picture turned and mirrored upright, as Pillow's ImageOps.exif_transpose; from 5 on height and width change
/// places. The pixels themselves for 1.
torch::Tensor apply_orientation(const torch::Tensor& pixels_HWC, int orientation);

}  // namespace beit

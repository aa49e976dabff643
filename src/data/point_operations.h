// Changes of a picture that map each byte by a table, equal to those of Pillow's ImageOps. In place; channels apart.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace beit {

/// Stretches each channel linearly so that its least value becomes 0 and its largest 255.
void autocontrast_(const torch::Tensor& pixels_HWC);

/// Spreads each channel's histogram evenly over [0, 255].
void equalize_(const torch::Tensor& pixels_HWC);

/// 255 - value.
void invert_(const torch::Tensor& pixels_HWC);

/// Keeps the `bits` highest bits, 0 to 8.
void posterize_(const torch::Tensor& pixels_HWC, int64_t bits);

/// Inverts values of at least `threshold`, 0 to 256.
void solarize_(const torch::Tensor& pixels_HWC, int64_t threshold);

/// Adds `amount`, 0 to 255, to values below `threshold`, cut off at 255.
void solarize_add_(const torch::Tensor& pixels_HWC, int64_t amount, int64_t threshold = 128);

}  // namespace beit

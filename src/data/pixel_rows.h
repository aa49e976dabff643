// The inner loops over rows of pixels, compiled for more than one instruction set. All of them give the same bytes.
// A row comes interleaved (RGBRGB...), as decoders write it, or as three planes one after another (RR...GG...BB...).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace beit {

/// Weights of a resize have 22 bits behind the point: 32 less 8 of the pixel less 2 for weights beyond 1.
inline constexpr int kWeightBits = 22;

/// For each output column: where its input pixels begin, and how much of each it takes. Two pixels, six bytes, are
/// weighed at a time, as eight numbers of which the last two weigh nothing.
struct ColumnTaps {
  int64_t outputs = 0, pairs = 0;  ///< pairs of input pixels of each output
  std::vector<int64_t> first;      ///< input pixel
  std::vector<int32_t> weights;    ///< [outputs, pairs, 8]

  /// Bytes that are read from an output's first input byte on.
  int64_t reach() const { return pairs * 6 + 2; }
};

struct RowKernels {
  const char* name;

  /// Interleaved to planes: each output pixel from its neighbours. Reads reach() bytes from each first pixel on.
  void (*narrow)(const uint8_t* in, const ColumnTaps& taps, uint8_t* planes);
  /// A weighted sum of `count` rows of `bytes` bytes, which lie one after another.
  void (*sum)(const uint8_t* rows, const int32_t* weights, int64_t count, int64_t bytes, uint8_t* out);

  void (*split)(const uint8_t* interleaved, int64_t pixels, uint8_t* planes);
  void (*join)(const uint8_t* planes, int64_t pixels, uint8_t* interleaved);

  /// Pillow's Image.blend with one value: plain + factor * (byte - plain) in float32, cut to [0, 255], not rounded.
  void (*blend)(uint8_t* bytes, int64_t count, int32_t plain, float factor);
  /// Likewise with the pixel's own grey.
  void (*saturate)(uint8_t* planes, int64_t pixels, float factor);
  /// Sum of Pillow's grey values.
  int64_t (*grey_sum)(const uint8_t* planes, int64_t pixels);

  /// (byte / 255 - mean) / std, in float32.
  void (*to_float)(const uint8_t* bytes, int64_t count, float mean, float std, float* out);
};

/// Those that this processor can run, the portable one first, the fastest last.
std::span<const RowKernels> all_row_kernels();

/// The fastest.
const RowKernels& row_kernels();

}  // namespace beit

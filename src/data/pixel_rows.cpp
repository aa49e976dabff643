// Most loops are written once, and inlined into a function for each instruction set, where the compiler makes vectors
// of them. This file is compiled without fused multiply-add, which would round otherwise.
#include "data/pixel_rows.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace beit {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

void narrow(const uint8_t* in, const ColumnTaps& taps, uint8_t* planes) {
  const int32_t* weights = taps.weights.data();
  for (int64_t x = 0; x < taps.outputs; ++x) {
    const uint8_t* pixel = in + taps.first[static_cast<size_t>(x)] * 3;
    int32_t red = kHalf, green = kHalf, blue = kHalf;
    for (int64_t pair = 0; pair < taps.pairs; ++pair, pixel += 6, weights += 8) {
      red += weights[0] * pixel[0] + weights[3] * pixel[3];
      green += weights[1] * pixel[1] + weights[4] * pixel[4];
      blue += weights[2] * pixel[2] + weights[5] * pixel[5];
    }
    planes[x] = to_byte(red);
    planes[taps.outputs + x] = to_byte(green);
    planes[2 * taps.outputs + x] = to_byte(blue);
  }
}

void sum(const uint8_t* rows, const int32_t* weights, int64_t count, int64_t bytes, uint8_t* out) {
  constexpr int64_t kSlice = 256;  // sums that stay near
  std::array<int32_t, kSlice> sums;
  for (int64_t begin = 0; begin < bytes; begin += kSlice) {
    const int64_t length = std::min(kSlice, bytes - begin);
    sums.fill(kHalf);
    for (int64_t t = 0; t < count; ++t) {
      const uint8_t* row = rows + t * bytes + begin;
      for (int64_t i = 0; i < length; ++i) sums[static_cast<size_t>(i)] += weights[t] * row[i];
    }
    for (int64_t i = 0; i < length; ++i) out[begin + i] = to_byte(sums[static_cast<size_t>(i)]);
  }
}

[[gnu::always_inline]] inline void split(const uint8_t* interleaved, int64_t pixels, uint8_t* planes) {
  uint8_t *red = planes, *green = planes + pixels, *blue = planes + 2 * pixels;
  for (int64_t i = 0; i < pixels; ++i) {
    red[i] = interleaved[3 * i];
    green[i] = interleaved[3 * i + 1];
    blue[i] = interleaved[3 * i + 2];
  }
}

[[gnu::always_inline]] inline void join(const uint8_t* planes, int64_t pixels, uint8_t* interleaved) {
  const uint8_t *red = planes, *green = planes + pixels, *blue = planes + 2 * pixels;
  for (int64_t i = 0; i < pixels; ++i) {
    interleaved[3 * i] = red[i];
    interleaved[3 * i + 1] = green[i];
    interleaved[3 * i + 2] = blue[i];
  }
}

[[gnu::always_inline]] inline uint8_t mix(int32_t plain, int32_t value, float factor) {
  float mixed = static_cast<float>(plain) + factor * static_cast<float>(value - plain);
  mixed = mixed > 0.0F ? mixed : 0.0F;
  mixed = mixed < 255.0F ? mixed : 255.0F;
  return static_cast<uint8_t>(static_cast<int32_t>(mixed));
}

[[gnu::always_inline]] inline int32_t grey(int32_t red, int32_t green, int32_t blue) {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

[[gnu::always_inline]] inline void blend(uint8_t* bytes, int64_t count, int32_t plain, float factor) {
  for (int64_t i = 0; i < count; ++i) bytes[i] = mix(plain, bytes[i], factor);
}

[[gnu::always_inline]] inline void saturate(uint8_t* planes, int64_t pixels, float factor) {
  uint8_t* __restrict red = planes;
  uint8_t* __restrict green = planes + pixels;
  uint8_t* __restrict blue = planes + 2 * pixels;
  for (int64_t i = 0; i < pixels; ++i) {
    const int32_t plain = grey(red[i], green[i], blue[i]);
    red[i] = mix(plain, red[i], factor);
    green[i] = mix(plain, green[i], factor);
    blue[i] = mix(plain, blue[i], factor);
  }
}

[[gnu::always_inline]] inline int64_t grey_sum(const uint8_t* planes, int64_t pixels) {
  constexpr int64_t kSlice = 1 << 16;  // whose sum fits 32 bits
  const uint8_t *red = planes, *green = planes + pixels, *blue = planes + 2 * pixels;
  int64_t total = 0;
  for (int64_t begin = 0; begin < pixels; begin += kSlice) {
    const int64_t end = std::min(pixels, begin + kSlice);
    int32_t slice = 0;
    for (int64_t i = begin; i < end; ++i) slice += grey(red[i], green[i], blue[i]);
    total += slice;
  }
  return total;
}

[[gnu::always_inline]] inline void to_float(const uint8_t* bytes, int64_t count, float mean, float std, float* out) {
  if (mean == 0.0F && std == 1.0F) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(bytes[i]) / 255.0F;
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = (static_cast<float>(bytes[i]) / 255.0F - mean) / std;
  }
}

constexpr RowKernels kPortable{
    .name = "portable",
    .narrow = narrow,
    .sum = sum,
    .split = [](const uint8_t* in, int64_t pixels, uint8_t* planes) { split(in, pixels, planes); },
    .join = [](const uint8_t* planes, int64_t pixels, uint8_t* out) { join(planes, pixels, out); },
    .blend = [](uint8_t* bytes, int64_t count, int32_t plain, float factor) { blend(bytes, count, plain, factor); },
    .saturate = [](uint8_t* planes, int64_t pixels, float factor) { saturate(planes, pixels, factor); },
    .grey_sum = [](const uint8_t* planes, int64_t pixels) { return grey_sum(planes, pixels); },
    .to_float = [](const uint8_t* bytes, int64_t count, float mean, float std,
                   float* out) { to_float(bytes, count, mean, std, out); }};

#if defined(__x86_64__)
// Eight bytes as eight numbers.
[[gnu::target("avx2"), gnu::always_inline]] inline __m256i widened(const uint8_t* bytes) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
}

// Thirty-two numbers cut to bytes, in order.
[[gnu::target("avx2"), gnu::always_inline]] inline void store_bytes(__m256i a, __m256i b, __m256i c, __m256i d,
                                                                    uint8_t* out) {
  const __m256i mixed = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  const __m256i halves = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packing keeps to halves
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(mixed, halves));
}

// mix() of eight numbers, not yet cut to bytes.
[[gnu::target("avx2"), gnu::always_inline]] inline __m256i mixed(__m256i plain, __m256 plain_float, __m256i values,
                                                                 __m256 factor) {
  const __m256 difference = _mm256_cvtepi32_ps(_mm256_sub_epi32(values, plain));
  return _mm256_cvttps_epi32(_mm256_add_ps(plain_float, _mm256_mul_ps(factor, difference)));
}

// Past this factor every difference but 0 leads past the ends of [0, 255] alike; numbers stay within 32 bits.
constexpr float kLargestFactor = 1024.0F;

// One output pixel: red, green and blue, still with the bits behind the point.
[[gnu::target("avx2"), gnu::always_inline]] inline __m128i weighed(const uint8_t* pixels, const __m256i* weights,
                                                                   int64_t pairs) {
  __m256i sums = _mm256_setr_epi32(kHalf, kHalf, kHalf, 0, 0, 0, 0, 0);
  for (int64_t pair = 0; pair < pairs; ++pair) {
    sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(widened(pixels + 6 * pair), _mm256_loadu_si256(weights + pair)));
  }
  const __m256i second = _mm256_permutevar8x32_epi32(sums, _mm256_setr_epi32(3, 4, 5, 6, 7, 0, 1, 2));
  return _mm_srai_epi32(_mm256_castsi256_si128(_mm256_add_epi32(sums, second)), kWeightBits);
}

template <int64_t kPairs>
[[gnu::target("avx2")]] void narrow_pairs(const uint8_t* in, const ColumnTaps& taps, uint8_t* planes) {
  const int64_t outputs = taps.outputs, pairs = kPairs > 0 ? kPairs : taps.pairs;
  const auto* weights = reinterpret_cast<const __m256i*>(taps.weights.data());
  const int64_t* first = taps.first.data();
  const __m128i by_channel = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int64_t x = 0; x < outputs; x += 4) {
    // Beyond the last output, the last one again.
    const int64_t b = std::min(x + 1, outputs - 1), c = std::min(x + 2, outputs - 1), d = std::min(x + 3, outputs - 1);
    const __m128i ab = _mm_packs_epi32(weighed(in + first[x] * 3, weights + x * pairs, pairs),
                                       weighed(in + first[b] * 3, weights + b * pairs, pairs));
    const __m128i cd = _mm_packs_epi32(weighed(in + first[c] * 3, weights + c * pairs, pairs),
                                       weighed(in + first[d] * 3, weights + d * pairs, pairs));
    const __m128i bytes = _mm_shuffle_epi8(_mm_packus_epi16(ab, cd), by_channel);
    const std::array red_green_blue{_mm_cvtsi128_si32(bytes), _mm_extract_epi32(bytes, 1), _mm_extract_epi32(bytes, 2)};
    const auto count = static_cast<size_t>(std::min<int64_t>(4, outputs - x));
    for (size_t channel = 0; channel < 3; ++channel) {
      uint8_t* out = planes + static_cast<int64_t>(channel) * outputs + x;
      if (count == 4) {
        std::memcpy(out, &red_green_blue[channel], 4);
      } else {
        std::memcpy(out, &red_green_blue[channel], count);
      }
    }
  }
}

// The number of pairs as a constant lets the compiler unroll.
[[gnu::target("avx2")]] void narrow_avx2(const uint8_t* in, const ColumnTaps& taps, uint8_t* planes) {
  switch (taps.pairs) {
    case 2: return narrow_pairs<2>(in, taps, planes);
    case 3: return narrow_pairs<3>(in, taps, planes);
    case 4: return narrow_pairs<4>(in, taps, planes);
    case 5: return narrow_pairs<5>(in, taps, planes);
    default: return narrow_pairs<0>(in, taps, planes);
  }
}

[[gnu::target("avx2")]] void sum_avx2(const uint8_t* rows, const int32_t* weights, int64_t count, int64_t bytes,
                                      uint8_t* out) {
  int64_t at = 0;
  for (; at + 32 <= bytes; at += 32) {
    __m256i a = _mm256_set1_epi32(kHalf), b = a, c = a, d = a;
    const uint8_t* row = rows + at;
    for (int64_t t = 0; t < count; ++t, row += bytes) {
      const __m256i weight = _mm256_set1_epi32(weights[t]);
      a = _mm256_add_epi32(a, _mm256_mullo_epi32(widened(row), weight));
      b = _mm256_add_epi32(b, _mm256_mullo_epi32(widened(row + 8), weight));
      c = _mm256_add_epi32(c, _mm256_mullo_epi32(widened(row + 16), weight));
      d = _mm256_add_epi32(d, _mm256_mullo_epi32(widened(row + 24), weight));
    }
    store_bytes(_mm256_srai_epi32(a, kWeightBits), _mm256_srai_epi32(b, kWeightBits), _mm256_srai_epi32(c, kWeightBits),
                _mm256_srai_epi32(d, kWeightBits), out + at);
  }
  for (; at < bytes; ++at) {
    int32_t total = kHalf;
    for (int64_t t = 0; t < count; ++t) total += weights[t] * rows[t * bytes + at];
    out[at] = to_byte(total);
  }
}

[[gnu::target("avx2")]] void split_avx2(const uint8_t* in, int64_t pixels, uint8_t* planes) {
  split(in, pixels, planes);
}
[[gnu::target("avx2")]] void join_avx2(const uint8_t* planes, int64_t pixels, uint8_t* out) {
  join(planes, pixels, out);
}
[[gnu::target("avx2")]] void blend_avx2(uint8_t* bytes, int64_t count, int32_t plain, float factor) {
  const __m256i plain_int = _mm256_set1_epi32(plain);
  const __m256 plain_float = _mm256_cvtepi32_ps(plain_int), share = _mm256_set1_ps(std::min(factor, kLargestFactor));
  int64_t at = 0;
  for (; at + 32 <= count; at += 32) {
    const uint8_t* in = bytes + at;
    store_bytes(mixed(plain_int, plain_float, widened(in), share),
                mixed(plain_int, plain_float, widened(in + 8), share),
                mixed(plain_int, plain_float, widened(in + 16), share),
                mixed(plain_int, plain_float, widened(in + 24), share), bytes + at);
  }
  blend(bytes + at, count - at, plain, factor);
}

[[gnu::target("avx2")]] void saturate_avx2(uint8_t* planes, int64_t pixels, float factor) {
  const __m256 share = _mm256_set1_ps(std::min(factor, kLargestFactor));
  const __m256i half = _mm256_set1_epi32(0x8000), red_share = _mm256_set1_epi32(19595),
                green_share = _mm256_set1_epi32(38470), blue_share = _mm256_set1_epi32(7471);
  int64_t at = 0;
  for (; at + 32 <= pixels; at += 32) {
    __m256i grey_int[4];
    __m256 grey_float[4];
    for (size_t i = 0; i < 4; ++i) {
      const uint8_t* in = planes + at + 8 * static_cast<int64_t>(i);
      const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(_mm256_mullo_epi32(widened(in), red_share),
                                                            _mm256_mullo_epi32(widened(in + pixels), green_share)),
                                           _mm256_mullo_epi32(widened(in + 2 * pixels), blue_share));
      grey_int[i] = _mm256_srli_epi32(_mm256_add_epi32(sum, half), 16);
      grey_float[i] = _mm256_cvtepi32_ps(grey_int[i]);
    }
    for (int64_t channel = 0; channel < 3; ++channel) {
      uint8_t* in = planes + channel * pixels + at;
      store_bytes(mixed(grey_int[0], grey_float[0], widened(in), share),
                  mixed(grey_int[1], grey_float[1], widened(in + 8), share),
                  mixed(grey_int[2], grey_float[2], widened(in + 16), share),
                  mixed(grey_int[3], grey_float[3], widened(in + 24), share), in);
    }
  }
  for (; at < pixels; ++at) {
    const int32_t plain = grey(planes[at], planes[pixels + at], planes[2 * pixels + at]);
    for (int64_t channel = 0; channel < 3; ++channel) {
      planes[channel * pixels + at] = mix(plain, planes[channel * pixels + at], factor);
    }
  }
}

[[gnu::target("avx2")]] int64_t grey_sum_avx2(const uint8_t* planes, int64_t pixels) {
  return grey_sum(planes, pixels);
}
[[gnu::target("avx2")]] void to_float_avx2(const uint8_t* bytes, int64_t count, float mean, float std, float* out) {
  to_float(bytes, count, mean, std, out);
}

constexpr std::array kAll{kPortable, RowKernels{"avx2", narrow_avx2, sum_avx2, split_avx2, join_avx2, blend_avx2,
                                                saturate_avx2, grey_sum_avx2, to_float_avx2}};
size_t runnable() { return __builtin_cpu_supports("avx2") ? 2 : 1; }
#else
constexpr std::array kAll{kPortable};
size_t runnable() { return 1; }
#endif

}  // namespace

std::span<const RowKernels> all_row_kernels() { return std::span(kAll).first(runnable()); }

const RowKernels& row_kernels() {
  static const RowKernels& fastest = all_row_kernels().back();
  return fastest;
}

}  // namespace beit

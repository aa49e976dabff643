// What loops in vectors have in common.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cmath>
#include <cstdint>

namespace beit::CPU_CAPABILITY {
namespace {

using Vec = at::vec::Vectorized<float>;

/// visit(first, size) for each vector's worth of [begin, end); the last may be short.
template <class Visit>
void for_each_vector(int64_t begin, int64_t end, Visit visit) {
  for (; begin + Vec::size() <= end; begin += Vec::size()) visit(begin, static_cast<int>(Vec::size()));
  if (begin < end) visit(begin, static_cast<int>(end - begin));
}
template <class Visit>
void for_each_vector(int64_t count, Visit visit) {
  for_each_vector(0, count, visit);
}

inline float sum(Vec x) {
  float lanes[Vec::size()], total = 0.0F;
  x.store(lanes);
  for (const float lane : lanes) total += lane;
  return total;
}

/// NaN if there is one.
inline float greatest(Vec x) {
  float lanes[Vec::size()];
  x.store(lanes);
  float highest = lanes[0];
  for (const float lane : lanes)
    if (lane > highest || std::isnan(lane)) highest = lane;
  return highest;
}

}  // namespace
}  // namespace beit::CPU_CAPABILITY

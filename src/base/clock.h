// Time that passes.
#pragma once

#include <chrono>

namespace beit {

using Clock = std::chrono::steady_clock;

/// So many seconds, as times of that clock are apart.
inline Clock::duration for_seconds(double count) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count));
}

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace beit

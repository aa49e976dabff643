// The progress line on a terminal: share done, images a second, time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace beit {

/// Seconds as people read them: 47 s, 3 min 5 s, 2 h 10 min.
std::string readable_seconds(double seconds);

/// Draws on stderr, and only where that is a terminal. Not thread-safe.
class Progress {
 public:
  Progress(int64_t first_step, int64_t steps, int64_t images_per_step, bool shown);
  ~Progress();  ///< clears the line

  /// `step` steps are done; `text` stands at the line's end.
  void show(int64_t step, const std::string& text);
  /// Clears the line, so that a log line may be printed.
  void clear();

  double images_per_s(int64_t step) const;  ///< since the start
  double seconds_left(int64_t step) const;

 private:
  using Clock = std::chrono::steady_clock;
  int64_t first_step_, steps_, images_per_step_;
  bool shown_;
  Clock::time_point start_ = Clock::now(), drawn_{};
};

}  // namespace beit

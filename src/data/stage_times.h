// Where the time of loading goes.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

namespace beit {

/// Seconds of work, of all threads together.
struct StageTimes {
  double read_s = 0;    ///< bytes from the disk
  double decode_s = 0;  ///< bytes to pixels
  double resize_s = 0;  ///< pixels to the view's size
  double rest_s = 0;    ///< colours, floats, masks, rows of the batch
  int64_t images = 0;

  StageTimes& operator+=(const StageTimes& other) {
    read_s += other.read_s;
    decode_s += other.decode_s;
    resize_s += other.resize_s;
    rest_s += other.rest_s;
    images += other.images;
    return *this;
  }

  /// The time since `earlier`, by stage, in microseconds an image loaded since.
  std::array<std::pair<const char*, double>, 4> us_per_image(const StageTimes& earlier) const {
    const double scale = 1e6 / static_cast<double>(std::max<int64_t>(1, images - earlier.images));
    return {{{"read", scale * (read_s - earlier.read_s)},
             {"decode", scale * (decode_s - earlier.decode_s)},
             {"resize", scale * (resize_s - earlier.resize_s)},
             {"rest", scale * (rest_s - earlier.rest_s)}}};
  }
};

/// Gives the time between two calls to a stage. Used by one thread.
class StageClock {
 public:
  void start() { last_ = Clock::now(); }
  void end(double StageTimes::*stage) {
    const auto now = Clock::now();
    times.*stage += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }
  StageTimes times;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace beit

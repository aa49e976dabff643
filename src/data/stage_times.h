// Where the time of loading goes.
#pragma once

#include <chrono>
#include <cstdint>

namespace beit {

/// Seconds of work, of all threads together.
struct LoaderTimes {
  double read_s = 0;    ///< bytes from the disk
  double decode_s = 0;  ///< bytes to pixels
  double resize_s = 0;  ///< pixels to the view's size
  double rest_s = 0;    ///< colours, floats, masks, rows of the batch
  int64_t images = 0;

  LoaderTimes& operator+=(const LoaderTimes& other) {
    read_s += other.read_s;
    decode_s += other.decode_s;
    resize_s += other.resize_s;
    rest_s += other.rest_s;
    images += other.images;
    return *this;
  }
};

/// Gives the time between two calls to a stage. Used by one thread.
class StageClock {
 public:
  void start() { last_ = Clock::now(); }
  void end(double LoaderTimes::*stage) {
    const auto now = Clock::now();
    times.*stage += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }
  LoaderTimes times;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace beit

#include "train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace beit {

std::string readable_seconds(double seconds) {
  const auto whole = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

Progress::Progress(int64_t first_step, int64_t steps, int64_t images_per_step, bool shown)
    : first_step_(first_step),
      steps_(steps),
      images_per_step_(images_per_step),
      shown_(shown && isatty(STDERR_FILENO)) {}

Progress::~Progress() { clear(); }

double Progress::images_per_s(int64_t step) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return static_cast<double>((step - first_step_) * images_per_step_) / std::max(seconds, 1e-9);
}

double Progress::seconds_left(int64_t step) const {
  const double rate = images_per_s(step);
  return rate > 0 ? static_cast<double>((steps_ - step) * images_per_step_) / rate : 0.0;
}

void Progress::show(int64_t step, const std::string& text) {
  constexpr auto kPause = std::chrono::milliseconds(200);
  if (!shown_ || Clock::now() - drawn_ < kPause) return;
  drawn_ = Clock::now();
  constexpr int64_t kWidth = 24;
  const auto filled = static_cast<size_t>(kWidth * step / std::max<int64_t>(1, steps_));
  const std::string bar = std::string(filled, '#') + std::string(static_cast<size_t>(kWidth) - filled, '.');
  fmt::print(stderr, "\r\033[K[{}] {}/{}  {:.0f} images/s  {} left  {}", bar, step, steps_, images_per_s(step),
             readable_seconds(seconds_left(step)), text);
  std::fflush(stderr);
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

}  // namespace beit

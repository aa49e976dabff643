#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace beit {

namespace {

double share(int64_t part, int64_t all) { return static_cast<double>(part) / static_cast<double>(all); }

double cosine(const Schedule& s, int64_t step) {
  if (step < s.warmup_steps) return s.warmup_steps == 1 ? 0.0 : s.peak * share(step, s.warmup_steps - 1);
  const double done = share(step - s.warmup_steps, s.steps - s.warmup_steps);
  return s.last + 0.5 * (s.peak - s.last) * (1.0 + std::cos(std::numbers::pi * done));
}

double linear(const Schedule& s, int64_t step) {
  constexpr double kFirst = 1e-6;  // of the warm-up, as mmcv has it
  const double lr = s.last + (s.peak - s.last) * (1.0 - share(step, s.steps));
  return step < s.warmup_steps ? lr * (1.0 - (1.0 - share(step, s.warmup_steps)) * (1.0 - kFirst)) : lr;
}

}  // namespace

double Schedule::at(int64_t step) const {
  if (step >= steps) return last;
  return fall == Fall::kCosine ? cosine(*this, step) : linear(*this, step);
}

}  // namespace beit

#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace beit {

double CosineSchedule::at(int64_t step) const {
  if (step >= steps) return last;
  if (step < warmup_steps) {
    return warmup_steps == 1 ? 0.0 : peak * static_cast<double>(step) / static_cast<double>(warmup_steps - 1);
  }
  const double done = static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps);
  return last + 0.5 * (peak - last) * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace beit

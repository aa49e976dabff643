// The learning rate of a run.
#pragma once

#include <cstdint>

namespace beit {

/// Linear from 0 to `peak` over `warmup_steps`, both ends included, then half a cosine to `last` over the rest.
struct CosineSchedule {
  double peak = 1.5e-3;
  double last = 1e-5;
  int64_t steps = 1;
  int64_t warmup_steps = 0;

  /// Of the step, counted from 0; `last` from `steps` on.
  double at(int64_t step) const;
};

}  // namespace beit

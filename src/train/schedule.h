// The learning rate of a run.
#pragma once

#include <cstdint>

namespace beit {

enum class Fall {
  kCosine,  ///< linear from 0 to `peak` over the warm-up, both ends included, then half a cosine to `last`
  kLinear,  ///< linear from `peak` at step 0 to `last`, in the warm-up times 1 - (1 - step / warmup_steps) (1 - 1e-6)
};

struct Schedule {
  double peak = 1.5e-3;
  double last = 1e-5;
  int64_t steps = 1;
  int64_t warmup_steps = 0;
  Fall fall = Fall::kCosine;

  /// Of the step, counted from 0; `last` from `steps` on.
  double at(int64_t step) const;
};

}  // namespace beit

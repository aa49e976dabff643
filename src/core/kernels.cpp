#include "core/kernels.h"

#include <ATen/Version.h>

namespace beit {

// What src/core/kernels/table.cpp defines at each level.
namespace DEFAULT {
extern const Kernels table;
}
#if defined(__x86_64__)
namespace AVX2 {
extern const Kernels table;
}
namespace AVX512 {
extern const Kernels table;
}
#endif

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
#if defined(__x86_64__)
    const auto level = at::get_cpu_capability();
    if (level == "AVX512") return AVX512::table;
    if (level == "AVX2") return AVX2::table;
#endif
    return DEFAULT::table;
  }();
  return chosen;
}

}  // namespace beit

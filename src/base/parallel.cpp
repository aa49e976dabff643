#include "base/parallel.h"

#include <ATen/Parallel.h>

// Clang's calls would want another library than LibTorch's.
#if !defined(_OPENMP) && !defined(__clang__)
#error "expected a compiler with OpenMP, which LibTorch's own loops use; see CMakeLists.txt"
#endif

namespace beit {

void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  at::parallel_for(begin, end, grain, work);
}

}  // namespace beit

// Loops over all threads that compute.
#pragma once

#include <cstdint>
#include <functional>

namespace beit {

/// work(begin, end) for parts of [begin, end) of at least `grain`, on LibTorch's threads: at::parallel_for, which is
/// parallel only in a file that is compiled for OpenMP as base/parallel.cpp is. What a part throws is thrown here.
void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t, int64_t)>& work);

}  // namespace beit

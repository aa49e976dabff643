// Work on numbered items by several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace beit {

/// Calls work(i) once for each i in [0, count), lower numbers first, by at most `workers` threads, and waits for all.
/// After an exception no further call is begun; the first that was thrown is thrown here.
void for_each_parallel(int64_t count, int64_t workers, const std::function<void(int64_t)>& work);

}  // namespace beit

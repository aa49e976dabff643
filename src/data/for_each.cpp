#include "data/for_each.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace beit {

void for_each_parallel(int64_t count, int64_t workers, const std::function<void(int64_t)>& work) {
  std::mutex mutex;  // guards the two below
  int64_t next = 0;
  std::exception_ptr error;
  const auto run = [&] {
    std::unique_lock lock(mutex);
    while (next < count && !error) {
      const int64_t item = next++;
      lock.unlock();
      std::exception_ptr own;
      try {
        work(item);
      } catch (...) {
        own = std::current_exception();
      }
      lock.lock();
      if (!error) error = own;
    }
  };
  std::vector<std::jthread> threads;
  for (int64_t i = 1; i < std::min(workers, count); ++i) threads.emplace_back(run);
  run();
  threads.clear();  // waits
  if (error) std::rethrow_exception(error);
}

}  // namespace beit

// Work on numbered items by several threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <utility>

namespace beit {

/// Calls work(i) once for each i in [0, count), lower numbers first, by at most `workers` threads, and waits for all.
/// After an exception no further call is begun; the first that was thrown is thrown here.
void for_each_parallel(int64_t count, int64_t workers, const std::function<void(int64_t)>& work);

/// Calls take(make(i)) for each i in [0, count), in order: `make` ahead of it in up to `workers` threads (1 at least),
/// `take` in this one. After an exception of either nothing further is begun, and it is thrown here.
template <class Make, class Take>
void for_each_ahead(int64_t count, int64_t workers, const Make& make, const Take& take) {
  std::deque<std::future<decltype(make(int64_t{0}))>> coming;
  int64_t begun = 0;
  const auto begin = [&] {
    if (begun < count) coming.push_back(std::async(std::launch::async, std::cref(make), begun++));
  };
  for (int64_t i = 0; i < std::max<int64_t>(workers, 1); ++i) begin();
  for (int64_t i = 0; i < count; ++i) {
    auto made = coming.front().get();
    coming.pop_front();
    begin();
    take(std::move(made));
  }
}

}  // namespace beit

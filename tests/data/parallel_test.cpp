#include "data/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

using namespace beit;

TEST_CASE("parallel: each item is worked on once, whatever the number of threads") {
  for (const int64_t workers : {1, 3, 50}) {
    std::vector<std::atomic<int>> calls(20);
    for_each_parallel(20, workers, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
    for (const auto& count : calls) CHECK(count == 1);
  }
  for_each_parallel(0, 4, [](int64_t) { FAIL("no item"); });
}

TEST_CASE("parallel: an exception ends the work and comes out") {
  for (const int64_t workers : {1, 4}) {
    std::atomic<int64_t> highest = 0;
    const auto work = [&](int64_t i) {
      if (i == 3) throw std::runtime_error("three");
      for (int64_t seen = highest; seen < i && !highest.compare_exchange_weak(seen, i);) continue;
    };
    CHECK_THROWS_WITH_AS(for_each_parallel(int64_t{1} << 40, workers, work), "three", std::runtime_error);
    CHECK(highest < int64_t{1} << 39);
  }
}

#include "data/for_each.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
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

TEST_CASE("parallel: what is made ahead is taken in order, by no more threads than may be") {
  for (const int64_t workers : {1, 3, 50}) {
    std::atomic<int64_t> running = 0, most = 0, made = 0;
    const auto make = [&](int64_t i) {
      const int64_t now = ++running;
      for (int64_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) continue;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ++made;
      --running;
      return 10 * i;
    };
    int64_t taken = 0;
    for_each_ahead(20, workers, make, [&](int64_t value) { CHECK(value == 10 * taken++); });
    CHECK(taken == 20);
    CHECK(made == 20);
    CHECK(most <= workers);
    CHECK_THROWS_WITH_AS(for_each_ahead(
                             20, workers, [](int64_t i) { return i == 3 ? throw std::runtime_error("three") : i; },
                             [](int64_t i) { CHECK(i < 3); }),
                         "three", std::runtime_error);
  }
}

#include "base/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"

namespace beit {
namespace {

TEST_CASE("random: the same numbers everywhere") {
  // Computed by a statement of splitmix64 and xoshiro256++ in another language.
  Random mask(7, 3, 11, Purpose::kAugment);
  for (const uint64_t expected :
       {0x01cee423e356805ULL, 0x82a9f1a8a05855eULL, 0x2aa7306edc1d522fULL, 0x3c361722af3d97b5ULL}) {
    CHECK(mask.bits() == expected);
  }
  Random order(0, 0, 0, Purpose::kOrder);
  CHECK(order.bits() == 0xaf6ac044f86ba71eULL);
  CHECK(order.bits() == 0x51b3a29b1ce45fdcULL);
}

TEST_CASE("random: seed, epoch, index and purpose each give another stream, and a copy the same") {
  std::set<uint64_t> first;
  for (uint64_t seed : {0, 1}) {
    for (uint64_t epoch : {0, 1}) {
      for (uint64_t index : {0, 1}) {
        for (const Purpose purpose : {Purpose::kOrder, Purpose::kMask}) {
          first.insert(Random(seed, epoch, index, purpose).bits());
        }
      }
    }
  }
  CHECK(first.size() == 16);
  Random one(1, 2, 3, Purpose::kMask);
  one.bits();
  Random copy = one;
  CHECK(one.bits() == copy.bits());
}

TEST_CASE("random: uniform numbers fill [low, high) evenly") {
  Random random(1, 0, 0, Purpose::kAugment);
  constexpr int kDraws = 100'000;
  double sum = 0, least = 1, most = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.uniform();
    sum += x;
    least = std::min(least, x);
    most = std::max(most, x);
  }
  CHECK(least >= 0);
  CHECK(most < 1);
  CHECK(least < 1e-3);
  CHECK(most > 1 - 1e-3);
  CHECK(std::abs(sum / kDraws - 0.5) < 5 / std::sqrt(12.0 * kDraws));
  for (int i = 0; i < 100; ++i) {
    const double x = random.uniform(-3, -2);
    CHECK(x >= -3);
    CHECK(x < -2);
  }
}

TEST_CASE("random: every integer of a range comes equally often") {
  Random random(2, 0, 0, Purpose::kMask);
  std::array<int, 5> counts{};
  constexpr int kDraws = 50'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(static_cast<size_t>(random.integer(-2, 3) + 2));
  for (const int count : counts) CHECK(std::abs(count - kDraws / 5) < 5 * std::sqrt(kDraws / 5.0));
  CHECK(random.integer(4, 5) == 4);
  CHECK_THROWS_AS(random.integer(4, 4), Error);
}

TEST_CASE("random: normal numbers have mean 0, variance 1 and the normal's tails") {
  Random random(3, 0, 0, Purpose::kAugment);
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0;
  int beyond_two = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
    beyond_two += std::abs(x) > 2 ? 1 : 0;
  }
  CHECK(std::abs(sum / kDraws) < 5 / std::sqrt(kDraws));
  CHECK(std::abs(squares / kDraws - 1) < 5 * std::sqrt(2.0 / kDraws));
  CHECK(std::abs(beyond_two / static_cast<double>(kDraws) - 0.0455) < 0.004);
}

TEST_CASE("random: a permutation holds every number once, and each place is equally likely") {
  Random random(4, 0, 0, Purpose::kOrder);
  std::array<int, 4> first{};
  for (int i = 0; i < 8000; ++i) {
    auto order = random.permutation(4);
    ++first.at(static_cast<size_t>(order.front()));
    std::ranges::sort(order);
    CHECK(order == std::vector<int64_t>{0, 1, 2, 3});
  }
  for (const int count : first) CHECK(std::abs(count - 2000) < 5 * std::sqrt(2000.0));
  CHECK(random.permutation(0).empty());
  CHECK(random.permutation(1) == std::vector<int64_t>{0});
}

}  // namespace
}  // namespace beit

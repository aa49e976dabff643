// A stream of random numbers for one purpose of one sample: a function of (seed, epoch, index, purpose) only,
// so that neither the number of threads nor the order of work changes what a sample looks like.
#pragma once

#include <cstdint>
#include <vector>

namespace beit {

/// What a stream is used for; streams of different purposes are independent.
enum class Purpose : uint64_t {
  kOrder = 1,
  kAugment = 2,
  kMask = 3,
  kReplace = 4,
  kWeights = 5,
  kStep = 6  ///< all that a training step draws
};

/// xoshiro256++ seeded by splitmix64. Same numbers on every platform and compiler. Not thread-safe; copyable.
class Random {
 public:
  Random(uint64_t seed, uint64_t epoch, uint64_t index, Purpose purpose);

  uint64_t bits();                              ///< 64 uniform bits
  double uniform();                             ///< in [0, 1)
  double uniform(double low, double high);      ///< in [low, high)
  int64_t integer(int64_t low, int64_t high);   ///< in [low, high), high > low
  double normal();                              ///< mean 0, variance 1
  std::vector<int64_t> permutation(int64_t n);  ///< of 0..n-1, uniform (Fisher-Yates)

 private:
  uint64_t state_[4];
};

}  // namespace beit

#include "base/random.h"

#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"

namespace beit {
namespace {

uint64_t splitmix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed, uint64_t epoch, uint64_t index, Purpose purpose) {
  uint64_t mixed = seed;
  for (const uint64_t part : {epoch, index, static_cast<uint64_t>(purpose)}) mixed = splitmix64(mixed) ^ part;
  for (uint64_t& word : state_) word = splitmix64(mixed);
}

uint64_t Random::bits() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

double Random::uniform(double low, double high) { return low + (high - low) * uniform(); }

int64_t Random::integer(int64_t low, int64_t high) {
  require(high > low, "random: expected a range [low, high) with high > low, got [{}, {})", low, high);
  const auto span = static_cast<uint64_t>(high - low);
  const uint64_t fair = UINT64_MAX - UINT64_MAX % span;  // rejection keeps every value equally likely
  uint64_t value = bits();
  while (value >= fair) value = bits();
  return low + static_cast<int64_t>(value % span);
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::vector<int64_t> Random::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(integer(0, i + 1))]);
  return order;
}

}  // namespace beit

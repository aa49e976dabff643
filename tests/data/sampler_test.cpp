#include "data/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/random.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

namespace {

using Indices = std::vector<int64_t>;

// Archives of so many images each, no picture among them: an order is asked for, nothing is read.
class Shards {
 public:
  Dataset open(const std::vector<std::vector<int64_t>>& sources) const {
    std::vector<fs::path> folders;
    for (size_t s = 0; s < sources.size(); ++s) {
      folders.push_back(folder_.path / std::to_string(s));
      for (size_t a = 0; a < sources[s].size(); ++a) {
        std::vector<std::vector<uint8_t>> members;
        for (int64_t i = 0; i < sources[s][a]; ++i) members.push_back(tar_member(fmt::format("{:05}.jpg", i), {}));
        write_bytes(folders.back() / fmt::format("{:03}.tar", a), tar(members));
      }
    }
    return Dataset::open(folders);
  }

 private:
  TemporaryFolder folder_;
};

Indices sorted(Indices indices) {
  std::ranges::sort(indices);
  return indices;
}

Indices all_of(int64_t count) {
  Indices indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

// How many samples come from each source.
Indices counts(const Dataset& dataset, const Indices& order) {
  Indices counted(static_cast<size_t>(dataset.sources()), 0);
  for (const int64_t i : order) ++counted[static_cast<size_t>(dataset.source(i))];
  return counted;
}

}  // namespace

TEST_CASE("sampler: a full shuffle without weights is the permutation of (seed, epoch)") {
  const Shards shards;
  const auto dataset = shards.open({{40, 3}, {60}});
  const Sampler sampler(dataset, {.seed = 5});
  for (const int64_t epoch : {0, 1, 77}) {
    CHECK(sampler.order(epoch) == Random(5, static_cast<uint64_t>(epoch), 0, Purpose::kOrder).permutation(103));
  }
  CHECK(Sampler(dataset, {.shuffle = Shuffle::kNone}).order(4) == all_of(103));
  CHECK(sampler.size() == 103);
}

TEST_CASE("sampler: shards are shuffled so that every image comes once, in another order for each seed and epoch") {
  const Shards shards;
  for (const auto& sizes : {Indices{100, 1, 57, 300}, Indices{5}, Indices{24}, Indices{25, 30}}) {
    const auto dataset = shards.open({sizes});
    for (const int64_t window : {1, 24, 100, 100'000}) {
      CAPTURE(window);
      const Sampler sampler(dataset, {.seed = 3, .shuffle = Shuffle::kShards, .window = window});
      const auto first = sampler.order(0);
      CHECK(sorted(first) == all_of(dataset.size()));
      CHECK(first == Sampler(dataset, {.seed = 3, .shuffle = Shuffle::kShards, .window = window}).order(0));
      if (sizes.size() < 3) continue;
      CHECK(first != sampler.order(1));
      CHECK(first != Sampler(dataset, {.seed = 4, .shuffle = Shuffle::kShards, .window = window}).order(0));
    }
  }
}

TEST_CASE("sampler: 1, 2, 3, 4 and 8 ranks take the same images, batch by batch, from any place on") {
  const Shards shards;
  const auto dataset = shards.open({{100, 1, 57, 300}, {90}});
  constexpr int64_t kBatch = 24, kBatches = 548 / kBatch;
  for (const auto shuffle : {Shuffle::kNone, Shuffle::kFull, Shuffle::kShards}) {
    for (const auto& weights : {std::vector<double>{}, std::vector<double>{1, 2}}) {
      if (shuffle == Shuffle::kNone && !weights.empty()) continue;
      const auto order = Sampler(dataset, {.shuffle = shuffle, .window = 96, .weights = weights}).order(2);
      for (const int64_t ranks : {1, 2, 3, 4, 8}) {
        CAPTURE(ranks);
        Indices together;
        for (int64_t batch = 0; batch < kBatches; ++batch) {
          Indices of_ranks;
          for (int64_t rank = 0; rank < ranks; ++rank) {
            const auto part = rank_part(order, rank, ranks);
            const int64_t own = kBatch / ranks;
            of_ranks.insert(of_ranks.end(), part.begin() + batch * own, part.begin() + (batch + 1) * own);
          }
          CHECK(sorted(of_ranks) == sorted({order.begin() + batch * kBatch, order.begin() + (batch + 1) * kBatch}));
        }
        for (int64_t rank = 0; rank < ranks; ++rank) {
          const auto part = rank_part(order, rank, ranks);
          together.insert(together.end(), part.begin(), part.end());
        }
        CHECK(sorted(together) == sorted(order));
      }
    }
  }
  CHECK_THROWS_AS(rank_part({1, 2}, 2, 2), Error);
  CHECK_THROWS_AS(rank_part({1, 2}, -1, 2), Error);
}

TEST_CASE("sampler: each stream reads its archives forward, and each rank its own streams") {
  const Shards shards;
  const int64_t kArchives = 30, kEach = 400, window = 24 * 50;
  const auto dataset = shards.open({Indices(static_cast<size_t>(kArchives), kEach)});
  const auto order = Sampler(dataset, {.shuffle = Shuffle::kShards, .window = window}).order(0);
  int64_t reads = 0, near = 0, changes = 0;
  for (int64_t stream = 0; stream < kShardStreams; ++stream) {
    std::map<int64_t, int64_t> front;  // by archive: the furthest place that was read
    int64_t last = -1;
    for (const int64_t image : rank_part(order, stream, kShardStreams)) {
      const int64_t archive = dataset.archive(image), place = image % kEach;
      const auto [at, is_new] = front.try_emplace(archive, place);
      ++reads;
      near += is_new || std::abs(place - at->second) <= 2 * window / kShardStreams ? 1 : 0;
      at->second = std::max(at->second, place);
      changes += archive != last ? 1 : 0;
      last = archive;
    }
    CHECK(front.size() <= 3);  // 500 images in a row lie in at most three archives
  }
  const double share = static_cast<double>(near) / static_cast<double>(reads);
  MESSAGE("reads within two windows of the furthest: ", share, "; of a full shuffle it would be ",
          2.0 * 2 * 50 / (kArchives * kEach));
  CHECK(share > 0.8);
  CHECK(changes < reads / 8);  // to and fro where one archive follows another

  std::vector<std::set<int64_t>> archives;  // of each of 8 ranks
  for (int64_t rank = 0; rank < 8; ++rank) {
    std::set<int64_t> own;
    for (const int64_t image : rank_part(order, rank, 8)) own.insert(dataset.archive(image));
    CHECK(own.size() <= 9);  // three streams
  }
}

TEST_CASE("sampler: neighbours in an archive are apart in the order") {
  const Shards shards;
  const auto dataset = shards.open({{600, 600, 600, 600}});
  const auto order = Sampler(dataset, {.shuffle = Shuffle::kShards, .window = 480}).order(0);
  int64_t in_place = 0;
  const auto plain = Sampler(dataset, {.shuffle = Shuffle::kShards, .window = 1}).order(0);
  for (size_t i = 0; i < order.size(); ++i) in_place += order[i] == plain[i] ? 1 : 0;
  CHECK(in_place < 300);  // about one of 20
}

TEST_CASE("sampler: weights share out an epoch and every image of a source comes equally often") {
  const Shards shards;
  const auto dataset = shards.open({{50, 20}, {25}, {5}});
  for (const auto shuffle : {Shuffle::kFull, Shuffle::kShards}) {
    const Sampler sampler(dataset, {.shuffle = shuffle, .window = 48, .weights = {1, 2, 1}});
    std::vector<int64_t> times(100, 0);
    for (int64_t epoch = 0; epoch < 14; ++epoch) {
      const auto order = sampler.order(epoch);
      CHECK(counts(dataset, order) == Indices{25, 50, 25});
      for (const int64_t i : order) ++times[static_cast<size_t>(i)];
    }
    for (int64_t i = 0; i < 100; ++i) {
      const Indices expected{25 * 14 / 70, 50 * 14 / 25, 25 * 14 / 5};
      CHECK(times[static_cast<size_t>(i)] == expected[static_cast<size_t>(dataset.source(i))]);
    }
    CHECK(sampler.order(0) != sampler.order(1));
  }
  const Sampler thirds(dataset, {.weights = {1, 1, 1}});
  CHECK(counts(dataset, thirds.order(3)) == Indices{34, 33, 33});
  CHECK(counts(dataset, Sampler(dataset, {.weights = {1e-9, 1, 1e300}}).order(0)) == Indices{0, 0, 100});
}

TEST_CASE("sampler: weighted sources are spread evenly over every part of a shard shuffle") {
  const Shards shards;
  const auto dataset = shards.open({{300, 300}, {120}});
  const auto order = Sampler(dataset, {.shuffle = Shuffle::kShards, .window = 24, .weights = {3, 1}}).order(0);
  for (int64_t part = 0; part < 720; part += 72) {
    const auto counted = counts(dataset, {order.begin() + part, order.begin() + part + 72});
    CHECK(std::abs(counted[1] - 18) <= 24);
  }
  for (int64_t stream = 0; stream < kShardStreams; ++stream) {
    CHECK(std::abs(counts(dataset, rank_part(order, stream, kShardStreams))[1] - 180 / 24) <= 1);
  }
}

TEST_CASE("sampler: the order in which sources are given changes nothing without weights") {
  const Shards shards;
  shards.open({{10, 20}, {30}});
  const auto one = shards.open({{10, 20}, {30}});
  std::vector<fs::path> reversed{fs::path(one.path(59)).parent_path().parent_path(),
                                 fs::path(one.path(0)).parent_path().parent_path()};
  const auto other = Dataset::open(reversed);
  for (const auto shuffle : {Shuffle::kNone, Shuffle::kFull, Shuffle::kShards}) {
    CHECK(Sampler(one, {.shuffle = shuffle}).order(1) == Sampler(other, {.shuffle = shuffle}).order(1));
  }
}

TEST_CASE("sampler: options that make no order are refused") {
  const Shards shards;
  const auto dataset = shards.open({{10}, {20}});
  const auto refused = [&](SamplerOptions options) { return error_of([&] { Sampler(dataset, options); }); };
  CHECK(contains(refused({.weights = {1}}), "expected one weight for each of 2 sources, got 1"));
  CHECK(contains(refused({.weights = {1, 0}}), "expected weights above 0, got 0"));
  CHECK(contains(refused({.weights = {1, -2}}), "expected weights above 0, got -2"));
  CHECK(contains(refused({.weights = {1, std::numeric_limits<double>::quiet_NaN()}}), "expected weights above 0"));
  CHECK(contains(refused({.weights = {1, std::numeric_limits<double>::infinity()}}), "expected weights above 0"));
  CHECK(contains(refused({.shuffle = Shuffle::kNone, .weights = {1, 1}}), "together with shuffling"));
  CHECK(contains(refused({.shuffle = Shuffle::kShards, .window = 0}), "expected a window"));
  CHECK_THROWS_AS(Sampler(dataset, {}).order(-1), Error);
}

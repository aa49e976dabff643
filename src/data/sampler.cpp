#include "data/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace beit {
namespace {

// Shares of `total` in proportion to the weights; what rounding leaves goes to the largest remainders.
std::vector<int64_t> quotas(int64_t total, const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> shares;
  std::vector<std::pair<double, size_t>> remainders;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double exact = static_cast<double>(total) * (weights[i] / sum);
    shares.push_back(std::min(total, static_cast<int64_t>(exact)));
    remainders.emplace_back(static_cast<double>(shares.back()) - exact, i);
  }
  std::ranges::sort(remainders);
  const int64_t left = total - std::accumulate(shares.begin(), shares.end(), int64_t{0});
  for (int64_t i = 0; i < left; ++i) ++shares[remainders[static_cast<size_t>(i) % remainders.size()].second];
  return shares;
}

// One sequence in which each part holds as much of every given one as the whole does, as far as whole numbers allow.
std::vector<int64_t> interleaved(std::vector<std::vector<int64_t>> sequences, int64_t total) {
  if (sequences.size() == 1) return std::move(sequences.front());
  std::vector<size_t> taken(sequences.size(), 0);
  // How far a sequence would be with half of its next element: the least is next. 1 is the end.
  const auto reached = [&](size_t i) {
    return taken[i] == sequences[i].size()
               ? 1.0
               : (static_cast<double>(taken[i]) + 0.5) / static_cast<double>(sequences[i].size());
  };
  std::vector<int64_t> all;
  all.reserve(static_cast<size_t>(total));
  while (std::ssize(all) < total) {
    size_t next = 0;
    for (size_t i = 1; i < sequences.size(); ++i) next = reached(i) < reached(next) ? i : next;
    all.push_back(sequences[next][taken[next]++]);
  }
  return all;
}

}  // namespace

Sampler::Sampler(const Dataset& dataset, SamplerOptions options) : options_(std::move(options)), size_(dataset.size()) {
  const auto& weights = options_.weights;
  require(options_.window > 0, "sampler: expected a window of at least 1 image, got {}", options_.window);
  require(weights.empty() || std::ssize(weights) == dataset.sources(),
          "sampler: expected one weight for each of {} sources, got {}", dataset.sources(), weights.size());
  for (const double weight : weights) {
    require(std::isfinite(weight) && weight > 0, "sampler: expected weights above 0, got {}", weight);
  }
  require(weights.empty() || options_.shuffle != Shuffle::kNone,
          "sampler: expected weights together with shuffling, got them without");

  groups_.resize(std::max<size_t>(1, weights.size()));
  for (int64_t i = 0; i < size_; ++i) {
    groups_[weights.empty() ? 0 : static_cast<size_t>(dataset.source(i))].images.push_back(i);
  }
  const auto shares = weights.empty() ? std::vector{size_} : quotas(size_, weights);
  for (size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    group.quota = shares[g];
    if (options_.shuffle != Shuffle::kShards) continue;
    // Archives by their first image's place in the dataset, so that the order in which sources are given is of no
    // matter.
    std::vector<int64_t> first;
    const auto rank_of = [&](int64_t image) {
      const auto archive = dataset.archive(image);
      return archive < 0 ? image : first[static_cast<size_t>(archive)];
    };
    for (const int64_t image : group.images) {
      const auto archive = dataset.archive(image);
      if (archive >= std::ssize(first)) first.resize(static_cast<size_t>(archive) + 1, -1);
      if (archive >= 0 && first[static_cast<size_t>(archive)] < 0) first[static_cast<size_t>(archive)] = image;
    }
    std::ranges::sort(group.images, {},
                      [&](int64_t image) { return std::tuple(rank_of(image), dataset.offset(image), image); });
    for (size_t i = 0; i < group.images.size(); ++i) {
      if (i == 0 || rank_of(group.images[i]) != rank_of(group.images[i - 1])) {
        group.starts.push_back(static_cast<int64_t>(i));
      }
    }
  }
}

// Every image of the group once.
std::vector<int64_t> Sampler::pass(const Group& group, size_t number, int64_t pass) const {
  Random random(options_.seed, static_cast<uint64_t>(pass), kShardStreams + 1 + number, Purpose::kOrder);
  std::vector<int64_t> images;
  images.reserve(group.images.size());
  if (options_.shuffle != Shuffle::kShards) {
    for (const int64_t i : random.permutation(std::ssize(group.images))) {
      images.push_back(group.images[static_cast<size_t>(i)]);
    }
    return images;
  }
  for (const int64_t archive : random.permutation(std::ssize(group.starts))) {
    const auto next = static_cast<size_t>(archive) + 1;
    const auto end = next < group.starts.size() ? group.starts[next] : std::ssize(group.images);
    std::copy(group.images.begin() + group.starts[next - 1], group.images.begin() + end, std::back_inserter(images));
  }
  return images;
}

// The images that the group gives to an epoch: a stretch of its endless walk.
std::vector<int64_t> Sampler::walk(const Group& group, size_t number, int64_t epoch) const {
  std::vector<int64_t> images;
  images.reserve(static_cast<size_t>(group.quota));
  const int64_t length = std::ssize(group.images);
  int64_t at = epoch * group.quota;
  while (std::ssize(images) < group.quota) {
    const auto whole = pass(group, number, at / length);
    const int64_t first = at % length, count = std::min(length - first, group.quota - std::ssize(images));
    std::copy_n(whole.begin() + first, count, std::back_inserter(images));
    at += count;
  }
  return images;
}

std::vector<int64_t> Sampler::mixed_in_window(const std::vector<int64_t>& samples, int64_t epoch) const {
  std::vector<int64_t> mixed(samples.size());
  const auto share = static_cast<size_t>(std::max<int64_t>(1, options_.window / kShardStreams));
  auto next = samples.begin();
  for (int64_t stream = 0; stream < kShardStreams; ++stream) {
    Random random(options_.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(stream) + 1, Purpose::kOrder);
    const int64_t length = (std::ssize(samples) - stream + kShardStreams - 1) / kShardStreams;
    const auto end = next + std::max<int64_t>(0, length);
    std::vector<int64_t> window;
    for (size_t at = static_cast<size_t>(stream); at < mixed.size(); at += kShardStreams) {
      while (next != end && window.size() < share) window.push_back(*next++);
      auto& drawn = window[static_cast<size_t>(random.integer(0, std::ssize(window)))];
      mixed[at] = std::exchange(drawn, window.back());
      window.pop_back();
    }
  }
  return mixed;
}

std::vector<int64_t> Sampler::order(int64_t epoch) const {
  require(epoch >= 0, "sampler: expected an epoch from 0, got {}", epoch);
  if (options_.shuffle == Shuffle::kNone) return groups_.front().images;
  Random random(options_.seed, static_cast<uint64_t>(epoch), 0, Purpose::kOrder);
  if (options_.shuffle == Shuffle::kFull && options_.weights.empty()) return random.permutation(size_);
  std::vector<std::vector<int64_t>> walks;
  for (size_t g = 0; g < groups_.size(); ++g) walks.push_back(walk(groups_[g], g, epoch));
  const auto samples = interleaved(std::move(walks), size_);
  if (options_.shuffle == Shuffle::kShards) return mixed_in_window(samples, epoch);
  std::vector<int64_t> order;
  order.reserve(samples.size());
  for (const int64_t i : random.permutation(size_)) order.push_back(samples[static_cast<size_t>(i)]);
  return order;
}

std::vector<int64_t> rank_part(const std::vector<int64_t>& order, int64_t rank, int64_t ranks) {
  require(0 <= rank && rank < ranks, "sampler: expected a rank from 0 to {}, got {}", ranks - 1, rank);
  std::vector<int64_t> part;
  for (auto s = static_cast<size_t>(rank); s < order.size(); s += static_cast<size_t>(ranks)) part.push_back(order[s]);
  return part;
}

}  // namespace beit

// The order in which the images of an epoch come, and which of them each rank takes: functions of the dataset, the
// seed and the epoch only.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace beit {

enum class Shuffle {
  kNone,   ///< the dataset's order
  kFull,   ///< any image may come at any time: for what lies in memory or on a fast disk
  kShards  ///< archives in random order, read forward; images mixed within a window
};

struct SamplerOptions {
  uint64_t seed = 0;
  Shuffle shuffle = Shuffle::kFull;
  int64_t window = 8192;             ///< images, of all streams together, that kShards mixes
  std::vector<double> weights = {};  ///< one for each source: its share of an epoch; none: every image once an epoch
};

/// Streams that kShards reads at a time. Ranks whose number divides it read archives of their own, forward.
inline constexpr int64_t kShardStreams = 24;

/// An epoch is as long as the dataset. Without weights it holds every image once. With weights, source i gives
/// N w_i / sum(w) of the N (rounded so that the sum is N), going on from epoch to epoch through one random pass over
/// its images after another: at any time its images were given equally often, but for one.
///
/// kShards: archives come in random order, one behind another (an image outside of archives counts as one); the whole
/// is cut into kShardStreams equal parts, and sample s is the next of part s mod kShardStreams, drawn at random from
/// the window's share of that part. Weighted sources are spread evenly over all parts.
///
/// Needs the dataset only while it is made. Thread-safe.
class Sampler {
 public:
  /// Error where weights are not one positive number a source or come without shuffling, or the window is empty.
  Sampler(const Dataset& dataset, SamplerOptions options);

  /// Samples of an epoch: the dataset's size.
  int64_t size() const { return size_; }

  /// Indices in the dataset, one a sample; batch k of B holds the samples [k B, (k + 1) B). Takes time and memory in
  /// proportion to the size. Error for a negative epoch.
  std::vector<int64_t> order(int64_t epoch) const;

 private:
  /// What is walked through on its own: a source, or without weights all of them.
  struct Group {
    std::vector<int64_t> images;  ///< sorted by archive and offset for kShards, else by index
    std::vector<int64_t> starts;  ///< kShards: where each archive begins in `images`
    int64_t quota = 0;            ///< images an epoch
  };

  std::vector<int64_t> walk(const Group& group, size_t number, int64_t epoch) const;
  std::vector<int64_t> pass(const Group& group, size_t number, int64_t pass) const;
  std::vector<int64_t> mixed_in_window(const std::vector<int64_t>& samples, int64_t epoch) const;

  SamplerOptions options_;
  int64_t size_ = 0;
  std::vector<Group> groups_;
};

/// The samples s of an order with s mod ranks == rank: rank's part of every batch that `ranks` divides, in the batch's
/// order. All ranks together take every sample once, whatever their number. Error unless 0 <= rank < ranks.
std::vector<int64_t> rank_part(const std::vector<int64_t>& order, int64_t rank, int64_t ranks);

}  // namespace beit

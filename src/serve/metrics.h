// What a server counts of itself, in Prometheus's text format.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace beit {

/// Counts values by the smallest bound that is not below them.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

  void add(double value);

  /// The lines of a metric: `name_bucket{labels,le="..."}`, `name_sum`, `name_count`. `labels` may be empty.
  std::string text(std::string_view name, const std::string& labels) const;

 private:
  std::vector<double> bounds_;    // rising
  std::vector<uint64_t> counts_;  // one more than bounds: what is above all
  double sum_ = 0;
};

/// Thread-safe.
class Metrics {
 public:
  /// `path` is a known one, or "other": each makes lines of its own.
  void note_request(const std::string& path, int status, double seconds);
  /// Why a request was refused: the code of a Refusal.
  void note_refusal(const std::string& reason);
  void note_batch(int64_t images, double seconds);

  struct Now {
    int64_t queued = 0;       ///< images that wait for a batch
    int64_t under_way = 0;    ///< images of all requests
    int64_t connections = 0;  ///< open
  };
  std::string text(const Now& now) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
  std::map<std::string, Histogram> latencies_;
  std::map<std::string, uint64_t> refusals_;
  Histogram batches_{{1, 2, 4, 8, 16, 32, 64, 128, 256}};
  uint64_t images_ = 0;
  double busy_s_ = 0;
};

}  // namespace beit

// Dynamic batching: images of many requests, computed together by one thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "serve/metrics.h"
#include "serve/served_model.h"

namespace beit {

struct BatchOptions {
  int64_t most = 32;       ///< images
  double max_wait_ms = 5;  ///< of a batch's oldest image for others
};

/// A batch holds images of one endpoint, in the order in which they came. It starts when it is full, or when its oldest
/// image has waited as long as it may; then those of other endpoints follow by their age. An image whose deadline has
/// passed is not computed: nobody waits for it.
///
/// Thread-safe. Endpoints and metrics must outlive it.
class Batcher {
 public:
  Batcher(const BatchOptions& options, Metrics& metrics);
  /// As abandon().
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  /// What the endpoint computes of each image, in their order. A future throws what compute() threw, or a Refusal
  /// (503 or 504) where the image was not computed.
  std::vector<std::future<ImageTensors>> submit(const Endpoint& endpoint, std::vector<PreparedImage> images,
                                                Clock::time_point deadline);

  /// Images that wait.
  int64_t queued() const;

  /// Refuses what waits and all that comes; waits for the batch that is computed.
  void abandon();

 private:
  struct Job {
    const Endpoint* endpoint;
    PreparedImage image;
    Clock::time_point arrived, deadline;
    std::promise<ImageTensors> made = {};
  };

  void work();
  std::vector<Job> next_batch();
  void compute(std::vector<Job> batch);
  int64_t waiting_with(const Endpoint* endpoint) const;

  BatchOptions options_;
  Metrics& metrics_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace beit

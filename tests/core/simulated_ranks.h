// Ranks that are threads of one process.
#pragma once

#include <doctest/doctest.h>
#include <torch/torch.h>

#include <atomic>
#include <barrier>
#include <functional>
#include <thread>
#include <vector>

#include "core/ranks.h"

namespace beit {

/// They share LibTorch's generator: what a rank draws, the others do not draw again.
class SimulatedRanks {
 public:
  explicit SimulatedRanks(int64_t size) : all_(size), parts_(static_cast<size_t>(size)) {}

  Ranks ranks(int64_t rank) {
    return {.rank = rank, .size = static_cast<int64_t>(parts_.size()), .sum = [this, rank](torch::Tensor& tensor) {
              parts_[static_cast<size_t>(rank)] = tensor.clone();
              all_.arrive_and_wait();
              tensor.zero_();
              for (const auto& part : parts_) {
                if (part.sizes() != tensor.sizes() || part.dtype() != tensor.dtype()) ++unequal_;
                tensor += part;  // in one order on each rank
              }
              all_.arrive_and_wait();
            }};
  }

  /// `work` on all ranks at once, until the last has ended.
  void run(const std::function<void(int64_t rank)>& work) {
    std::vector<std::thread> others;
    for (int64_t rank = 1; rank < static_cast<int64_t>(parts_.size()); ++rank) others.emplace_back(work, rank);
    work(0);
    for (auto& other : others) other.join();
    CHECK(unequal_ == 0);  // tensors of one shape and type
  }

 private:
  std::barrier<> all_;
  std::vector<torch::Tensor> parts_;
  std::atomic<int64_t> unequal_ = 0;
};

}  // namespace beit

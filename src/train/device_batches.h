// A loader's batches on the device that computes: each is copied there while the one before it is computed on.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>

#include "data/loader.h"

namespace beit {

/// On a GPU the views of the next batch are on their way, on a stream of their own and from pinned memory where the
/// loader has it, when a batch is handed out; indices and labels stay on the CPU, and so do views of bool (masks,
/// flags), which say what is to be computed: to read them on a GPU is to wait for it. On the CPU, the loader's batches
/// as they are. Used by one thread; the loader must outlive it.
class DeviceBatches {
 public:
  DeviceBatches(Loader& loader, const torch::Device& device);
  ~DeviceBatches();

  /// As Loader::start() and Loader::next().
  void start(int64_t epoch, int64_t first_batch = 0);
  std::optional<Batch> next();

 private:
  struct Copies;  // the stream, and the batch that is on its way

  void send_next();

  Loader& loader_;
  torch::Device device_;
  std::unique_ptr<Copies> copies_;  // none on the CPU
};

}  // namespace beit

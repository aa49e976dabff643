// Batches of views in the background: threads read, decode and transform images, the caller takes batches in order.
// What a batch holds depends on (seed, epoch, batch) only, not on the number of threads nor on where the epoch is
// entered; the ranks' parts of a batch are together what one rank alone would have.
#pragma once

#include <torch/torch.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "data/dataset.h"
#include "data/encoded_image.h"
#include "data/sampler.h"
#include "data/view_output.h"

namespace beit {

/// One sample: always the same number of contiguous CPU tensors, each of the same shape and dtype for all samples.
using Views = std::vector<torch::Tensor>;

/// Which sample a transform is to make.
struct SampleRequest {
  uint64_t epoch = 0;
  int64_t index = 0;   ///< of the image in the dataset
  int64_t stream = 0;  ///< of its random numbers: the index, but for an image that the epoch holds again; a damaged
                       ///< image's replacement takes the stream of that
  ViewOutput output =
      {};  ///< its rows are the batch's: what is written there need not be copied. At first there are none.
};

/// Makes a sample of an image. Called by several threads at once, without gradients; random numbers come from a stream
/// of its own (seed, epoch, stream). An Error says that the image is of no use: it counts as damaged. It should not use
/// LibTorch's parallel operations: each thread would start its own.
using Transform = std::function<Views(EncodedImage& image, const SampleRequest& sample)>;

/// What happens to an image that cannot be read, decoded or transformed.
enum class OnDamage {
  kReplace,  ///< another image takes its place: the next readable one from a place drawn by (seed, epoch, stream)
  kSkip,     ///< its row is left out of the batch
  kFail      ///< an Error
};

struct LoaderOptions {
  int64_t batch_size = 64;         ///< images of all ranks together
  int64_t rank = 0, ranks = 1;     ///< takes the samples of the epoch whose number modulo `ranks` is `rank`
  int64_t workers = 2;             ///< threads
  SamplerOptions order = {};       ///< of the images; its seed also draws replacements
  bool drop_last = true;           ///< leave out an incomplete last batch
  bool apply_orientation = false;  ///< of Exif; else the pixels as they are stored
  OnDamage on_damage = OnDamage::kReplace;
  double max_damaged = 0.01;   ///< with kReplace, the largest share of damaged samples, in [0, 1]; above it, an Error
  int64_t queued_batches = 4;  ///< waiting or in work at most; besides, one image a worker, and until the epoch's end
                               ///< memory of batches that were taken is kept for others, of so many and one more
  bool pin_memory = false;     ///< batches in memory from which a GPU copies while it computes; without a GPU, plain
};

struct Batch {
  Views views;              ///< of all samples, stacked: [B, ...]
  torch::Tensor indices_B;  ///< int64, the images in the dataset (of a replaced one, the replacement)
  torch::Tensor labels_B;   ///< int64, -1 without class
};

/// Used by one thread. The dataset must outlive it.
class Loader {
 public:
  /// Error where the options make no batch of equal parts. Without drop_last a rank may have one sample less than
  /// others, and where there are few, none.
  Loader(const Dataset& dataset, Transform transform, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const Dataset& dataset() const { return dataset_; }

  /// Of a whole epoch.
  int64_t batches() const;

  /// Starts work on an epoch from its batch number `first_batch` on; leaves off what was in work.
  void start(int64_t epoch, int64_t first_batch = 0);

  /// The next batch, as soon as it is ready; nothing after the last. An error of a worker is thrown when its batch is
  /// due, with the image's path where it is an Error; after that, start() again. With kSkip, batches without rows do
  /// not come. With kReplace, an Error that lists them once more than `max_damaged` of this rank's samples of the epoch
  /// were damaged, counted from start().
  std::optional<Batch> next();

  /// Images found damaged so far, also by work ahead of next(). Each is named in the log once.
  int64_t damaged() const;

  /// Work since the loader was made.
  StageTimes times() const;

 private:
  struct Slot {
    int64_t rows = 0;
    Batch batch = {};
    int64_t missing = rows;             ///< samples still in work
    std::vector<int64_t> damaged = {};  ///< samples that were replaced, by their image
    std::exception_ptr error = nullptr;
    int64_t error_row = 0;
  };
  struct Sample {
    Views views;  ///< none: left out
    int64_t index = -1;
  };
  struct Layout {  ///< of a view
    std::vector<int64_t> sizes;
    torch::ScalarType dtype;
  };

  void stop();
  void work();
  void fill(Slot& slot, int64_t row, int64_t sample, StageClock& clock);
  Sample load(int64_t index, int64_t stream, const ViewOutput& output);
  std::optional<Sample> try_load(int64_t index, int64_t stream, const ViewOutput& output);
  Batch allocate(int64_t rows);
  torch::Tensor allocate_view(int64_t rows, const Layout& layout);
  void check_damaged(const Slot& slot);
  int64_t samples() const;
  int64_t rows() const { return options_.batch_size / options_.ranks; }  ///< of a full batch

  const Dataset& dataset_;
  const Transform transform_;
  const LoaderOptions options_;
  const Sampler sampler_;

  std::vector<std::thread> workers_;
  mutable std::mutex mutex_;  // guards all below, but not what a batch's tensors hold
  std::condition_variable room_, ready_;
  bool stopping_ = false;
  uint64_t epoch_ = 0;
  std::vector<int64_t> order_;        // this rank's samples of the epoch
  std::vector<int64_t> streams_;      // of their random numbers
  std::deque<Slot> slots_;            // a deque: slots stay where they are while others come and go at its ends
  int64_t first_slot_ = 0;            // batch of slots_.front()
  int64_t next_sample_ = 0;           // in order_, to be taken by a worker
  std::vector<Layout> layouts_;       // of the views, once a sample was made
  std::vector<torch::Tensor> spare_;  // views of former batches, for others when the caller has let go of them
  std::set<int64_t> damaged_;
  StageTimes times_;

  // Of the epoch since start(), in the order of the batches; the caller's.
  std::vector<int64_t> replaced_;
};

}  // namespace beit

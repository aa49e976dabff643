#include "data/loader.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "data/image.h"

namespace beit {
namespace {

constexpr int64_t kMostReplacements = 1000;  // tries before the data are given up

void copy_row(const torch::Tensor& view, const torch::Tensor& batch, int64_t row) {
  require(view.is_contiguous() && view.scalar_type() == batch.scalar_type() && view.sizes() == batch.sizes().slice(1),
          "loader: expected views of one shape and dtype, [{}] of {}, got [{}] of {}",
          fmt::join(batch.sizes().slice(1), ", "), c10::toString(batch.scalar_type()), fmt::join(view.sizes(), ", "),
          c10::toString(view.scalar_type()));
  // memcpy, not copy_(), which would start LibTorch's threads in each of ours.
  std::memcpy(static_cast<std::byte*>(batch.mutable_data_ptr()) + static_cast<size_t>(row) * view.nbytes(),
              view.const_data_ptr(), view.nbytes());
}

// Leaves out the rows of samples that were skipped.
void drop_skipped_rows(Batch& batch) {
  const auto kept = batch.indices_B.ge(0);
  if (kept.all().item<bool>()) return;
  for (auto& view : batch.views) view = view.index({kept});
  batch.indices_B = batch.indices_B.index({kept});
  batch.labels_B = batch.labels_B.index({kept});
}

}  // namespace

Loader::Loader(const Dataset& dataset, Transform transform, LoaderOptions options)
    : dataset_(dataset), transform_(std::move(transform)), options_(options) {
  require(options_.batch_size > 0 && options_.workers > 0 && options_.queued_batches > 0,
          "loader: expected batch size, workers and queued batches of at least 1, got {}, {} and {}",
          options_.batch_size, options_.workers, options_.queued_batches);
  require(dataset_.size() > 0, "loader: expected at least one image, got an empty dataset");
  require(batches() > 0, "loader: expected at least one batch of {} images, got {} images; make the batch smaller",
          options_.batch_size, dataset_.size());
}

Loader::~Loader() { stop(); }

int64_t Loader::batches() const {
  return (dataset_.size() + (options_.drop_last ? 0 : options_.batch_size - 1)) / options_.batch_size;
}

int64_t Loader::rows_of(int64_t batch) const {
  return std::min(options_.batch_size, dataset_.size() - batch * options_.batch_size);
}

int64_t Loader::damaged() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(damaged_);
}

void Loader::start(int64_t epoch, int64_t first_batch) {
  require(epoch >= 0 && first_batch >= 0 && first_batch <= batches(),
          "loader: expected an epoch from 0 and a first batch of 0 to {}, got {} and {}", batches(), epoch,
          first_batch);
  stop();
  epoch_ = static_cast<uint64_t>(epoch);
  if (options_.shuffle) {
    order_ = Random(options_.seed, epoch_, 0, Purpose::kOrder).permutation(dataset_.size());
  } else {
    order_.resize(static_cast<size_t>(dataset_.size()));
    std::iota(order_.begin(), order_.end(), int64_t{0});
  }
  slots_.clear();
  first_slot_ = first_batch;
  next_sample_ = first_batch * options_.batch_size;
  stopping_ = false;
  for (int64_t i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
}

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
}

// A sample at a time, in order: the batch that is due first is also finished first.
void Loader::work() {
  const torch::NoGradGuard no_grad;
  const int64_t samples = std::min(batches() * options_.batch_size, dataset_.size());
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [&] {
      return stopping_ || next_sample_ >= samples ||
             next_sample_ / options_.batch_size < first_slot_ + options_.queued_batches;
    });
    if (stopping_ || next_sample_ >= samples) return;
    const int64_t sample = next_sample_++, batch = sample / options_.batch_size;
    if (batch == first_slot_ + std::ssize(slots_)) slots_.push_back({.rows = rows_of(batch)});
    Slot& slot = slots_[static_cast<size_t>(batch - first_slot_)];
    lock.unlock();
    fill(slot, sample % options_.batch_size, order_[static_cast<size_t>(sample)]);
    lock.lock();
    if (--slot.missing == 0) ready_.notify_one();
  }
}

void Loader::fill(Slot& slot, int64_t row, int64_t index) try {
  const Sample sample = load(index);
  Batch batch;  // shares the slot's tensors: filled here without the lock
  {
    const std::lock_guard lock(mutex_);
    if (!slot.batch.indices_B.defined()) {
      slot.batch.indices_B = torch::empty({slot.rows}, torch::kInt64);
      slot.batch.labels_B = torch::empty({slot.rows}, torch::kInt64);
    }
    if (slot.batch.views.empty()) {
      for (const auto& view : sample.views) {
        auto shape = view.sizes().vec();
        shape.insert(shape.begin(), slot.rows);
        slot.batch.views.push_back(torch::empty(shape, view.options()));
      }
    }
    batch = slot.batch;
  }
  batch.indices_B.mutable_data_ptr<int64_t>()[row] = sample.index;
  batch.labels_B.mutable_data_ptr<int64_t>()[row] = sample.index < 0 ? -1 : dataset_.label(sample.index);
  if (sample.index < 0) return;
  require(sample.views.size() == batch.views.size(), "loader: expected {} views, got {}", batch.views.size(),
          sample.views.size());
  for (size_t i = 0; i < batch.views.size(); ++i) copy_row(sample.views[i], batch.views[i], row);
} catch (...) {
  const std::lock_guard lock(mutex_);
  if (slot.error && slot.error_row < row) return;  // the first row's error, whichever thread was faster
  slot.error = std::current_exception();
  slot.error_row = row;
}

Loader::Sample Loader::load(int64_t index) {
  if (auto sample = try_load(index)) return std::move(*sample);
  if (options_.on_damage == OnDamage::kSkip) return {};
  const int64_t first =
      Random(options_.seed, epoch_, static_cast<uint64_t>(index), Purpose::kReplace).integer(0, dataset_.size());
  const int64_t tries = std::min(dataset_.size(), kMostReplacements);
  for (int64_t i = 0; i < tries; ++i) {
    if (auto sample = try_load((first + i) % dataset_.size())) return std::move(*sample);
  }
  fail("{}: expected a readable image in its place, got {} damaged ones in a row; check the data", dataset_.path(index),
       tries);
}

// Nothing where the image is damaged, which is noted.
std::optional<Loader::Sample> Loader::try_load(int64_t index) try {
  const auto pixels_HWC = decode_image(dataset_.read(index), dataset_.path(index));
  try {
    return Sample{transform_(pixels_HWC, epoch_, index), index};
  } catch (const Error& error) {
    fail("{}: {}", dataset_.path(index), error.what());
  }
} catch (const Error& error) {
  if (options_.on_damage == OnDamage::kFail) throw;
  const std::lock_guard lock(mutex_);
  if (damaged_.insert(index).second) log().warn("{}", error.what());
  return std::nullopt;
}

std::optional<Batch> Loader::next() {
  while (true) {
    std::unique_lock lock(mutex_);
    require(!workers_.empty(), "loader: expected start() before next()");
    if (first_slot_ == batches()) return std::nullopt;
    ready_.wait(lock, [&] { return !slots_.empty() && slots_.front().missing == 0; });
    Slot slot = std::move(slots_.front());
    slots_.pop_front();
    ++first_slot_;
    lock.unlock();
    room_.notify_all();
    if (slot.error) {
      stop();
      std::rethrow_exception(slot.error);
    }
    drop_skipped_rows(slot.batch);
    if (slot.batch.indices_B.size(0) > 0) return std::move(slot.batch);
  }
}

}  // namespace beit

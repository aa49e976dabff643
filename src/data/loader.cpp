#include "data/loader.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"

namespace beit {
namespace {

constexpr int64_t kPrefetched = 16;          // samples ahead whose bytes the system may fetch
constexpr int64_t kMostReplacements = 1000;  // tries before the data are given up
constexpr int64_t kMostNamed = 20;           // damaged images in an Error

void copy_row(const torch::Tensor& view, const torch::Tensor& batch, int64_t row) {
  require(view.is_contiguous() && view.scalar_type() == batch.scalar_type() && view.sizes() == batch.sizes().slice(1),
          "loader: expected views of one shape and dtype, [{}] of {}, got [{}] of {}",
          fmt::join(batch.sizes().slice(1), ", "), c10::toString(batch.scalar_type()), fmt::join(view.sizes(), ", "),
          c10::toString(view.scalar_type()));
  auto* to = static_cast<std::byte*>(batch.mutable_data_ptr()) + static_cast<size_t>(row) * view.nbytes();
  if (view.const_data_ptr() == to) return;  // written there by the transform
  // memcpy, not copy_(), which would start LibTorch's threads in each of ours.
  std::memcpy(to, view.const_data_ptr(), view.nbytes());
}

// An image that an epoch holds again, as sources of large weight have it, gets other random numbers each time.
std::vector<int64_t> streams_of(const std::vector<int64_t>& order, int64_t images) {
  std::vector<int64_t> streams, times(static_cast<size_t>(images), 0);
  streams.reserve(order.size());
  for (const int64_t index : order) streams.push_back(index + images * times[static_cast<size_t>(index)]++);
  return streams;
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
    : dataset_(dataset),
      transform_(std::move(transform)),
      options_(std::move(options)),
      sampler_(dataset, options_.order) {
  require(options_.batch_size > 0 && options_.workers > 0 && options_.queued_batches > 0,
          "loader: expected batch size, workers and queued batches of at least 1, got {}, {} and {}",
          options_.batch_size, options_.workers, options_.queued_batches);
  require(options_.rank >= 0 && options_.rank < options_.ranks && options_.batch_size % options_.ranks == 0,
          "loader: expected a batch size that is a multiple of the ranks, and a rank below them, got {}, {} and {}; "
          "change --batch-size",
          options_.batch_size, options_.ranks, options_.rank);
  require(options_.max_damaged >= 0.0 && options_.max_damaged <= 1.0,
          "loader: expected a largest share of damaged samples in [0, 1], got {}", options_.max_damaged);
  require(dataset_.size() > 0, "loader: expected at least one image, got an empty dataset");
  require(!options_.drop_last || dataset_.size() >= options_.batch_size,
          "loader: expected at least one batch of {} images, got {} images; make the batch smaller",
          options_.batch_size, dataset_.size());
}

Loader::~Loader() { stop(); }

// Of the epoch, this rank's.
int64_t Loader::samples() const {
  const int64_t size = dataset_.size(), all = options_.drop_last ? size - size % options_.batch_size : size;
  return (all - options_.rank + options_.ranks - 1) / options_.ranks;
}

int64_t Loader::batches() const { return (samples() + rows() - 1) / rows(); }

int64_t Loader::damaged() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(damaged_);
}

StageTimes Loader::times() const {
  const std::lock_guard lock(mutex_);
  return times_;
}

void Loader::start(int64_t epoch, int64_t first_batch) {
  require(epoch >= 0 && first_batch >= 0 && first_batch <= batches(),
          "loader: expected an epoch from 0 and a first batch of 0 to {}, got {} and {}", batches(), epoch,
          first_batch);
  stop();
  epoch_ = static_cast<uint64_t>(epoch);
  const auto order = sampler_.order(epoch);
  order_ = rank_part(order, options_.rank, options_.ranks);
  streams_ = options_.order.weights.empty()
                 ? order_
                 : rank_part(streams_of(order, dataset_.size()), options_.rank, options_.ranks);
  slots_.clear();
  first_slot_ = first_batch;
  next_sample_ = first_batch * rows();
  replaced_.clear();
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
  const int64_t end = samples();
  StageClock clock;
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [&] {
      return stopping_ || next_sample_ >= end || next_sample_ / rows() < first_slot_ + options_.queued_batches;
    });
    if (stopping_ || next_sample_ >= end) return;
    const int64_t sample = next_sample_++, batch = sample / rows();
    if (batch == first_slot_ + std::ssize(slots_)) {
      const int64_t held = std::min(rows(), end - batch * rows());
      slots_.push_back({.rows = held});
      try {
        slots_.back().batch = allocate(held);
      } catch (...) {
        slots_.back().error = std::current_exception();
      }
    }
    Slot& slot = slots_[static_cast<size_t>(batch - first_slot_)];
    lock.unlock();
    if (sample + kPrefetched < end) dataset_.prefetch(order_[static_cast<size_t>(sample + kPrefetched)]);
    fill(slot, sample % rows(), sample, clock);
    lock.lock();
    times_ += std::exchange(clock.times, {});
    if (--slot.missing == 0) ready_.notify_one();
  }
}

// With the lock held. Before the first sample, nothing is known of its views.
Batch Loader::allocate(int64_t rows) {
  Batch batch;
  batch.indices_B = torch::empty({rows}, torch::kInt64);
  batch.labels_B = torch::empty({rows}, torch::kInt64);
  for (const Layout& layout : layouts_) batch.views.push_back(allocate_view(rows, layout));
  return batch;
}

torch::Tensor Loader::allocate_view(int64_t rows, const Layout& layout) {
  std::vector<int64_t> sizes{rows};
  sizes.insert(sizes.end(), layout.sizes.begin(), layout.sizes.end());
  if (options_.pin_memory && torch::cuda::is_available()) {  // LibTorch keeps such memory by itself
    return torch::empty(sizes, torch::TensorOptions(layout.dtype).pinned_memory(true));
  }
  // Fresh memory costs as much as the copy of a view does.
  for (auto& view : spare_) {
    const bool free = view.use_count() == 1 && view.storage().use_count() == 1;
    if (free && view.sizes() == sizes && view.scalar_type() == layout.dtype) return view;
  }
  auto view = torch::empty(sizes, layout.dtype);
  const auto kept = static_cast<size_t>((options_.queued_batches + 1) * std::ssize(layouts_));
  if (spare_.size() >= kept) spare_.erase(spare_.begin());
  spare_.push_back(view);
  return view;
}

void Loader::fill(Slot& slot, int64_t row, int64_t number, StageClock& clock) try {
  clock.start();
  const int64_t index = order_[static_cast<size_t>(number)], stream = streams_[static_cast<size_t>(number)];
  ViewOutput output{.clock = &clock};
  Batch batch;  // shares the slot's tensors: filled here without the lock
  {
    const std::lock_guard lock(mutex_);
    batch = slot.batch;
  }
  for (const auto& view : batch.views) output.rows.push_back(view[row]);
  const Sample sample = load(index, stream, output);
  if (sample.index != index || batch.views.empty()) {
    const std::lock_guard lock(mutex_);
    if (sample.index != index) slot.damaged.push_back(index);
    if (layouts_.empty()) {
      for (const auto& view : sample.views) layouts_.push_back({view.sizes().vec(), view.scalar_type()});
    }
    if (slot.batch.views.empty()) {
      for (const Layout& layout : layouts_) slot.batch.views.push_back(allocate_view(slot.rows, layout));
    }
    batch.views = slot.batch.views;
  }
  batch.indices_B.mutable_data_ptr<int64_t>()[row] = sample.index;
  batch.labels_B.mutable_data_ptr<int64_t>()[row] = sample.index < 0 ? -1 : dataset_.label(sample.index);
  if (sample.index < 0) return;
  require(sample.views.size() == batch.views.size(), "loader: expected {} views, got {}", batch.views.size(),
          sample.views.size());
  for (size_t i = 0; i < batch.views.size(); ++i) copy_row(sample.views[i], batch.views[i], row);
  clock.end(&StageTimes::rest_s);
  ++clock.times.images;
} catch (...) {
  const std::lock_guard lock(mutex_);
  if (slot.error && slot.error_row <= row) return;  // the first row's error, whichever thread was faster
  slot.error = std::current_exception();
  slot.error_row = row;
}

Loader::Sample Loader::load(int64_t index, int64_t stream, const ViewOutput& output) {
  if (auto sample = try_load(index, stream, output)) return std::move(*sample);
  if (options_.on_damage == OnDamage::kSkip) return {};
  const int64_t first =
      Random(options_.order.seed, epoch_, static_cast<uint64_t>(stream), Purpose::kReplace).integer(0, dataset_.size());
  const int64_t tries = std::min(dataset_.size(), kMostReplacements);
  for (int64_t i = 0; i < tries; ++i) {
    const int64_t other = (first + i) % dataset_.size();
    if (auto sample = try_load(other, stream, output)) return std::move(*sample);
  }
  fail("{}: expected a readable image in its place, got {} damaged ones in a row; check the data", dataset_.path(index),
       tries);
}

// Nothing where the image is damaged, which is noted.
std::optional<Loader::Sample> Loader::try_load(int64_t index, int64_t stream, const ViewOutput& output) try {
  const std::string& path = dataset_.path(index);
  const auto bytes = dataset_.read(index);
  output.clock->end(&StageTimes::read_s);
  EncodedImage image(bytes, path, options_.apply_orientation);
  try {
    return Sample{transform_(image, {epoch_, index, stream, output}), index};
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(path)) throw;  // of the decoder
    fail("{}: {}", path, error.what());
  }
} catch (const Error& error) {
  if (options_.on_damage == OnDamage::kFail) throw;
  const std::lock_guard lock(mutex_);
  if (damaged_.insert(index).second) log().warn("{}", error.what());
  return std::nullopt;
}

// In the order of the batches, so that the number of threads does not decide when to stop.
void Loader::check_damaged(const Slot& slot) {
  if (options_.on_damage != OnDamage::kReplace) return;
  replaced_.insert(replaced_.end(), slot.damaged.begin(), slot.damaged.end());
  if (static_cast<double>(replaced_.size()) <= options_.max_damaged * static_cast<double>(samples())) return;
  std::ranges::sort(replaced_);
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(replaced_.size(), kMostNamed); ++i) {
    names += fmt::format("{}'{}'", i > 0 ? ", " : "", dataset_.path(replaced_[i]));
  }
  fail(
      "data: expected at most {:g}% damaged images, got {} of an epoch's {}: {}{}; repair or remove them, or set "
      "--max-damaged",
      100.0 * options_.max_damaged, replaced_.size(), samples(), names,
      std::ssize(replaced_) > kMostNamed ? ", ..." : "");
}

std::optional<Batch> Loader::next() {
  while (true) {
    std::unique_lock lock(mutex_);
    require(!workers_.empty(), "loader: expected start() before next()");
    if (first_slot_ == batches()) {
      spare_.clear();
      return std::nullopt;
    }
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
    try {
      check_damaged(slot);
    } catch (const Error&) {
      stop();
      throw;
    }
    drop_skipped_rows(slot.batch);
    if (slot.batch.indices_B.size(0) > 0) return std::move(slot.batch);
  }
}

}  // namespace beit

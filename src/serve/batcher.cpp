#include "serve/batcher.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include "serve/refusal.h"

namespace beit {
namespace {

std::exception_ptr refusal(int status, std::string_view code, const std::string& message) {
  return std::make_exception_ptr(Refusal(status, code, message));
}

std::exception_ptr ended() {
  return refusal(503, "shutting_down", "expected a server that goes on, got one that ends; ask again later");
}

}  // namespace

Batcher::Batcher(const BatchOptions& options, Metrics& metrics)
    : options_(options), metrics_(metrics), thread_([this] { work(); }) {}

Batcher::~Batcher() { abandon(); }

std::vector<std::future<ImageTensors>> Batcher::submit(const Endpoint& endpoint, std::vector<PreparedImage> images,
                                                       Clock::time_point deadline) {
  std::vector<std::future<ImageTensors>> futures;
  const auto now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    for (PreparedImage& image : images) {
      Job job{&endpoint, std::move(image), now, deadline};
      futures.push_back(job.made.get_future());
      if (ended_) {
        job.made.set_exception(ended());
      } else {
        jobs_.push_back(std::move(job));
      }
    }
  }
  changed_.notify_one();
  return futures;
}

int64_t Batcher::queued() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(jobs_);
}

void Batcher::abandon() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    for (Job& job : jobs_) job.made.set_exception(ended());
    jobs_.clear();
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Batcher::work() {
  const torch::NoGradGuard no_grad;  // of this thread
  while (true) {
    auto batch = next_batch();
    if (batch.empty()) return;
    compute(std::move(batch));
  }
}

int64_t Batcher::waiting_with(const Endpoint* endpoint) const {
  return std::ranges::count(jobs_, endpoint, &Job::endpoint);
}

// Empty at the end.
std::vector<Batcher::Job> Batcher::next_batch() {
  std::unique_lock lock(mutex_);
  const std::chrono::duration<double, std::milli> wait(options_.max_wait_ms);
  std::vector<Job> batch;
  while (batch.empty()) {
    changed_.wait(lock, [&] { return ended_ || !jobs_.empty(); });
    if (ended_) return {};
    const Endpoint* const endpoint = jobs_.front().endpoint;
    const auto full_at = jobs_.front().arrived + std::chrono::duration_cast<Clock::duration>(wait);
    changed_.wait_until(lock, full_at, [&] { return ended_ || waiting_with(endpoint) >= options_.most; });
    if (ended_) return {};
    const auto now = Clock::now();
    std::deque<Job> others;
    for (Job& job : jobs_) {
      if (job.deadline < now) {
        job.made.set_exception(refusal(504, "timeout", "expected an answer in time, got none; send fewer images"));
      } else if (job.endpoint == endpoint && std::ssize(batch) < options_.most) {
        batch.push_back(std::move(job));
      } else {
        others.push_back(std::move(job));
      }
    }
    jobs_ = std::move(others);
  }
  return batch;
}

void Batcher::compute(std::vector<Job> batch) {
  const auto start = Clock::now();
  std::vector<PreparedImage> images;
  for (Job& job : batch) images.push_back(std::move(job.image));
  try {
    auto made = batch.front().endpoint->compute(images);
    metrics_.note_batch(std::ssize(batch), seconds_since(start));
    for (size_t i = 0; i < batch.size(); ++i) batch[i].made.set_value(std::move(made.at(i)));
  } catch (...) {
    for (Job& job : batch) {
      try {
        job.made.set_exception(std::current_exception());
      } catch (const std::future_error&) {  // it has its value
      }
    }
  }
}

}  // namespace beit

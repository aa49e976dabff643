#include "train/rank_watch.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/clock.h"
#include "base/error.h"

namespace beit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kBeatEvery{1};
constexpr milliseconds kSearch{3500};
constexpr milliseconds kNoBeat{2500};  // at the end of a search, after which a rank counts as stopped
constexpr milliseconds kLookEvery{250};
constexpr seconds kAnswer{2};  // of the store

constexpr const char* kFailure = "failure";  // the first finding: what all ranks say
std::string beat_key(size_t rank) { return fmt::format("beat/{}", rank); }
std::string end_key(size_t rank) { return fmt::format("end/{}", rank); }

/// What a rank tells: a number that grows with each beat, and how many operations of all ranks it has entered.
struct Beat {
  int64_t tick = -1, entered = 0;
};

Beat read_beat(const std::string& text) {
  Beat beat;
  const char* end = text.data() + text.size();
  const auto [middle, error] = std::from_chars(text.data(), end, beat.tick);
  if (error == std::errc() && middle != end) std::from_chars(middle + 1, end, beat.entered);
  return beat;
}

/// What the store knows of one rank.
struct Sign {
  std::optional<Beat> beat;
  bool ended = false;
};

std::vector<Sign> read_signs(c10d::Store& store, size_t ranks) {
  std::vector<Sign> signs(ranks);
  for (size_t rank = 0; rank < ranks; ++rank) {
    signs[rank].ended = store.check({end_key(rank)});
    if (store.check({beat_key(rank)})) signs[rank].beat = read_beat(store.get_to_str(beat_key(rank)));
  }
  return signs;
}

/// The store did not answer in time.
struct NoAnswer : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string joined(const std::vector<std::string>& parts) {
  constexpr size_t kMostNamed = 8;
  std::string text;
  for (size_t i = 0; i < std::min(parts.size(), kMostNamed); ++i) text += (i > 0 ? ", " : "") + parts[i];
  return parts.size() > kMostNamed ? fmt::format("{} and {} more", text, parts.size() - kMostNamed) : text;
}

}  // namespace

struct RankWatch::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void(c10d::Store&)>> questions;
  std::string failure;  // what the store's key of that name says, once it is there
  bool stop = false;
  std::promise<void> ended;  // the thread
  std::atomic<int64_t> entered{0};
  int64_t rank = 0;
};

/// What is said of lost ranks, and which of them will not tell their end.
struct RankWatch::Finding {
  std::string text;
  std::vector<size_t> silent = {};
};

void RankWatch::beat(const std::shared_ptr<Shared>& shared, const c10::intrusive_ptr<c10d::Store>& store) {
  int64_t tick = 0;
  bool reachable = true;
  Clock::time_point next_beat = Clock::now();
  std::unique_lock lock(shared->mutex);
  while (!shared->stop || !shared->questions.empty()) {
    if (!shared->questions.empty()) {
      const auto question = std::move(shared->questions.front());
      shared->questions.pop_front();
      lock.unlock();
      question(*store);
      lock.lock();
      continue;
    }
    if (reachable && Clock::now() >= next_beat) {
      const bool failure_known = !shared->failure.empty();
      lock.unlock();
      std::string failure;
      try {
        store->set(beat_key(static_cast<size_t>(shared->rank)), fmt::format("{} {}", ++tick, shared->entered.load()));
        if (!failure_known && store->check({kFailure})) failure = store->get_to_str(kFailure);
      } catch (const std::exception&) {
        reachable = false;  // whoever asks next hears it
      }
      next_beat = Clock::now() + kBeatEvery;
      lock.lock();
      if (!failure.empty()) shared->failure = failure;
      continue;
    }
    shared->wake.wait_until(lock, next_beat);
    if (!reachable) next_beat = Clock::now() + kBeatEvery;
  }
}

RankWatch::RankWatch(c10::intrusive_ptr<c10d::Store> store, int64_t rank, std::vector<std::string> hosts,
                     std::string server)
    : rank_(rank), hosts_(std::move(hosts)), server_(std::move(server)), shared_(std::make_shared<Shared>()) {
  shared_->rank = rank;
  std::thread([shared = shared_, store = std::move(store)]() mutable {
    beat(shared, store);
    store.reset();
    shared->ended.set_value();
  }).detach();
}

RankWatch::~RankWatch() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
    shared_->wake.notify_one();
  }
  shared_->ended.get_future().wait_for(kAnswer);
}

void RankWatch::enter() { ++shared_->entered; }

template <class Result>
Result RankWatch::ask(std::function<Result(c10d::Store&)> question) {
  auto answer = std::make_shared<std::promise<Result>>();
  auto future = answer->get_future();
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->questions.push_back([answer, question = std::move(question)](c10d::Store& store) {
      try {
        answer->set_value(question(store));
      } catch (...) {
        answer->set_exception(std::current_exception());
      }
    });
    shared_->wake.notify_one();
  }
  if (future.wait_for(kAnswer) != std::future_status::ready) throw NoAnswer("the store does not answer");
  return future.get();
}

std::string RankWatch::name(size_t rank) const { return fmt::format("rank {} (host {})", rank, hosts_[rank]); }

std::string RankWatch::lost_ranks() try {
  {
    const std::lock_guard lock(shared_->mutex);
    if (!shared_->failure.empty()) return shared_->failure;
  }
  const Finding found = search();
  return found.text.empty() ? "" : publish(found);  // another's, where that came first
} catch (const std::exception&) {
  const std::lock_guard lock(shared_->mutex);  // known before the store went?
  return shared_->failure.empty() ? fmt::format("{} has ended or cannot be reached", server_) : shared_->failure;
}

/// Watches all ranks for as long as a living one may be silent.
RankWatch::Finding RankWatch::search() {
  const size_t ranks = hosts_.size();
  struct Look {
    std::string failure;
    std::vector<Sign> signs;
  };
  const auto look = [&] {
    return ask<Look>([ranks](c10d::Store& store) {
      if (store.check({kFailure})) return Look{.failure = store.get_to_str(kFailure), .signs = {}};
      return Look{.failure = {}, .signs = read_signs(store, ranks)};
    });
  };
  const auto start = Clock::now();
  const Look first = look();
  if (!first.failure.empty()) return {first.failure};
  Look last = first;
  std::vector<Clock::time_point> heard(ranks, start);
  const auto entered_by = [&](size_t rank) {
    if (rank == static_cast<size_t>(rank_)) return shared_->entered.load();
    return last.signs[rank].beat ? last.signs[rank].beat->entered : 0;
  };
  const auto furthest = [&] {
    int64_t most = 0;
    for (size_t rank = 0; rank < ranks; ++rank) most = std::max(most, entered_by(rank));
    return most;
  };
  // Where all are heard of, the search need not go on; but only if it has found somebody to name.
  const auto settled = [&] {
    bool named = false;
    for (size_t rank = 0; rank < ranks; ++rank) {
      const bool gone = last.signs[rank].ended;
      if (heard[rank] == start && !gone) return false;
      named = named || gone || entered_by(rank) < furthest();
    }
    return named;
  };
  while (Clock::now() - start < kSearch && !settled()) {
    std::this_thread::sleep_for(kLookEvery);
    Look look_now = look();
    if (!look_now.failure.empty()) return {look_now.failure};
    for (size_t rank = 0; rank < ranks; ++rank) {
      const auto &before = last.signs[rank].beat, &now = look_now.signs[rank].beat;
      if (now && (!before || now->tick != before->tick)) heard[rank] = Clock::now();
    }
    last = std::move(look_now);
  }

  std::vector<std::string> silent, ended, behind;
  std::vector<size_t> silent_ranks;
  const auto end = Clock::now();
  for (size_t rank = 0; rank < ranks; ++rank) {
    if (last.signs[rank].ended) {
      ended.push_back(name(rank));
    } else if (end - heard[rank] >= kNoBeat && rank != static_cast<size_t>(rank_)) {
      silent.push_back(name(rank));
      silent_ranks.push_back(rank);
    } else if (entered_by(rank) < furthest()) {
      behind.push_back(fmt::format("{} at operation {} of {}", name(rank), entered_by(rank), furthest()));
    }
  }
  if (!silent.empty()) {
    return {fmt::format("{} gave no sign of life for {:.1f} s: killed, stopped, or cut off from the others",
                        joined(silent), std::chrono::duration<double>(kNoBeat).count()),
            silent_ranks};
  }
  if (!ended.empty()) return {fmt::format("{} had ended before", joined(ended))};
  if (!behind.empty()) return {fmt::format("{} hangs or is slow", joined(behind))};
  return {};
}

std::string RankWatch::publish(const Finding& finding) {
  const std::string kept = ask<std::string>([finding](c10d::Store& store) {
    const std::string first = store.compareSet(kFailure, std::string(), finding.text);
    for (const size_t rank : finding.silent) store.set(end_key(rank), std::string("lost"));
    return first;
  });
  const std::lock_guard lock(shared_->mutex);
  return shared_->failure = kept;
}

void RankWatch::tell_failure(const std::string& message) try {
  publish({fmt::format("{} failed: {}", name(static_cast<size_t>(rank_)), message)});
} catch (const std::exception&) {
  // Without a store there is nobody to tell.
}

void RankWatch::tell_end() try {
  ask<bool>([key = end_key(static_cast<size_t>(rank_))](c10d::Store& store) {
    store.set(key, std::string("ended"));
    return true;
  });
} catch (const std::exception&) {
  // As above.
}

void RankWatch::wait_for_ends(milliseconds bound) try {
  std::vector<std::string> keys;
  for (size_t rank = 0; rank < hosts_.size(); ++rank) keys.push_back(end_key(rank));
  const auto start = Clock::now();
  while (!ask<bool>([keys](c10d::Store& store) { return store.check(keys); }) && Clock::now() - start < bound) {
    std::this_thread::sleep_for(milliseconds(20));
  }
} catch (const std::exception&) {
  // As above.
}

}  // namespace beit

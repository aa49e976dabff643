// How many things there may be at a time: images under way, images that are decoded. It bounds a server's memory.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace beit {

/// Thread-safe; outlives the places in it.
class Room {
 public:
  explicit Room(int64_t most) : most_(most) {}

  /// Some of the room, until it is destroyed.
  class Places {
   public:
    Places(Room& room, int64_t count) : room_(&room), count_(count) {}
    Places(Places&& other) noexcept : room_(other.room_), count_(std::exchange(other.count_, 0)) {}
    Places& operator=(Places&&) = delete;
    ~Places() {
      if (count_ > 0) room_->give_back(count_);
    }

   private:
    Room* room_;
    int64_t count_;
  };

  /// None where that many are not free by the deadline; without one, at once.
  std::optional<Places> take(int64_t count, Clock::time_point deadline = {}) {
    std::unique_lock lock(mutex_);
    if (!freed_.wait_until(lock, deadline, [&] { return count <= most_ - taken_; })) return std::nullopt;
    taken_ += count;
    return std::optional<Places>(std::in_place, *this, count);
  }

  int64_t taken() const {
    const std::lock_guard lock(mutex_);
    return taken_;
  }
  int64_t most() const { return most_; }

 private:
  void give_back(int64_t count) {
    {
      const std::lock_guard lock(mutex_);
      taken_ -= count;
    }
    freed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable freed_;
  const int64_t most_;
  int64_t taken_ = 0;
};

}  // namespace beit

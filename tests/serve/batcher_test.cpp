#include "serve/batcher.h"

#include <doctest/doctest.h>

#include <string>

#include "serve/refusal.h"
#include "tests/serve/small_server.h"

namespace beit {
namespace {

struct Batches {
  std::mutex mutex;
  std::vector<size_t> sizes;
  void note(size_t size) {
    const std::lock_guard lock(mutex);
    sizes.push_back(size);
  }
};

std::vector<PreparedImage> some_images(size_t count, int64_t side = 4) {
  std::vector<PreparedImage> images(count);
  for (auto& image : images) image.size = {side, side};
  return images;
}

Clock::time_point soon() { return Clock::now() + for_seconds(20); }

TEST_CASE("batcher: a full batch starts at once, the rest when its oldest image has waited long enough") {
  Batches batches;
  const auto model = counting_model([&](size_t size) { batches.note(size); });
  Metrics metrics;
  Batcher batcher({.most = 4, .max_wait_ms = 200}, metrics);
  const auto start = Clock::now();
  auto futures = batcher.submit(model.endpoints[0], some_images(6), soon());
  for (size_t i = 0; i < 4; ++i) CHECK(futures[i].get().at("pixels").item<int64_t>() == 16);
  CHECK(seconds_since(start) < 0.15);
  for (size_t i = 4; i < 6; ++i) futures[i].get();
  CHECK(seconds_since(start) >= 0.19);
  CHECK(batches.sizes == std::vector<size_t>{4, 2});
}

TEST_CASE("batcher: images that come while a batch is computed are the next") {
  Batches batches;
  Gate gate;
  const auto model = counting_model([&](size_t size) { gate.wait(), batches.note(size); });
  Metrics metrics;
  Batcher batcher({.most = 8, .max_wait_ms = 0}, metrics);
  auto first = batcher.submit(model.endpoints[0], some_images(1), soon());
  while (batcher.queued() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::vector<std::future<ImageTensors>> others;
  for (int64_t side = 1; side <= 5; ++side) {
    others.push_back(std::move(batcher.submit(model.endpoints[0], some_images(1, side), soon()).front()));
  }
  CHECK(batcher.queued() == 5);
  gate.open();
  first.front().get();
  for (int64_t side = 1; side <= 5; ++side) {  // each gets its own
    CHECK(others[static_cast<size_t>(side - 1)].get().at("pixels").item<int64_t>() == side * side);
  }
  CHECK(batches.sizes == std::vector<size_t>{1, 5});
}

TEST_CASE("batcher: endpoints do not share a batch") {
  Batches one, two;
  const auto model = counting_model([&](size_t size) { one.note(size); });
  const auto other = counting_model([&](size_t size) { two.note(size); });
  Metrics metrics;
  Batcher batcher({.most = 8, .max_wait_ms = 20}, metrics);
  auto a = batcher.submit(model.endpoints[0], some_images(2), soon());
  auto b = batcher.submit(other.endpoints[0], some_images(3), soon());
  for (auto& future : a) future.get();
  for (auto& future : b) future.get();
  CHECK(one.sizes == std::vector<size_t>{2});
  CHECK(two.sizes == std::vector<size_t>{3});
}

TEST_CASE("batcher: what computing throws reaches those who wait, and the next batch is computed") {
  bool fails = true;
  const auto model = counting_model([&](size_t) {
    if (std::exchange(fails, false)) fail("broken");
  });
  Metrics metrics;
  Batcher batcher({.most = 2, .max_wait_ms = 1}, metrics);
  for (auto& future : batcher.submit(model.endpoints[0], some_images(2), soon())) {
    CHECK_THROWS_WITH_AS(future.get(), "broken", Error);
  }
  CHECK(batcher.submit(model.endpoints[0], some_images(1), soon()).front().get().size() == 1);
}

TEST_CASE("batcher: an image whose time has passed is not computed; at the end nothing more is") {
  Batches batches;
  const auto model = counting_model([&](size_t size) { batches.note(size); });
  Metrics metrics;
  Batcher batcher({.most = 2, .max_wait_ms = 10}, metrics);
  const auto status_of = [](std::future<ImageTensors>& future) {
    try {
      future.get();
    } catch (const Refusal& refusal) {
      return refusal.status();
    }
    return 200;
  };
  auto late = batcher.submit(model.endpoints[0], some_images(1), Clock::now());
  CHECK(status_of(late.front()) == 504);
  batcher.abandon();
  auto after = batcher.submit(model.endpoints[0], some_images(1), soon());
  CHECK(status_of(after.front()) == 503);
  CHECK(batches.sizes.empty());
}

}  // namespace
}  // namespace beit

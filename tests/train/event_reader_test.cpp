#include "train/event_reader.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/support.h"
#include "train/events.h"

namespace beit {
namespace {

std::vector<int64_t> steps_of(const std::vector<StepHistogram>& found) {
  std::vector<int64_t> steps;
  for (const StepHistogram& one : found) steps.push_back(one.step);
  return steps;
}

TEST_CASE("event reader: histograms come back as they were written, and a resumed run's in place of the old ones") {
  const TemporaryFolder root;
  {
    EventWriter events(root.path, 0);
    events.scalar("train/loss", 1.5, 1);
    events.histogram("codebook", torch::arange(31, torch::kFloat64), 10);
    events.histogram("other", torch::ones({4}), 10);
    events.histogram("codebook", torch::ones({4}), 20);
  }
  EventWriter(root.path, 10).histogram("codebook", torch::full({5}, 2.0), 15);
  const auto found = read_histograms(root.path, "codebook");
  REQUIRE(steps_of(found) == std::vector<int64_t>{10, 15});
  CHECK(found[0].least == 0);
  CHECK(found[0].limits.size() == 30);
  CHECK(found[0].limits.back() == doctest::Approx(30));
  double sum = 0;
  for (const double count : found[0].counts) sum += count;
  CHECK(sum == 31);
  CHECK(found[1].counts == std::vector<double>{5});
}

TEST_CASE("event reader: what comes before the damage counts") {
  const TemporaryFolder root;
  std::filesystem::path path;
  {
    EventWriter events(root.path, 0);
    events.histogram("codebook", torch::ones({4}), 1);
    events.histogram("codebook", torch::ones({4}), 2);
    path = events.path();
  }
  const auto bytes = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, bytes - 3);
  CHECK(steps_of(read_histograms(root.path, "codebook")) == std::vector<int64_t>{1});
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.put('\xff');  // in the first length
  }
  CHECK(read_histograms(root.path, "codebook").empty());
  CHECK(read_histograms(root.path / "none", "codebook").empty());
}

}  // namespace
}  // namespace beit

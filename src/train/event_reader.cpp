#include "train/event_reader.h"

#include <algorithm>
#include <system_error>

#include "train/events.pb.h"
#include "train/tf_record.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostHistograms = 10'000;
constexpr int kMostBuckets = 10'000;

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const bool is_file = entry.is_regular_file(none);
    if (is_file && entry.path().filename().string().starts_with("events.out.tfevents.")) paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

void add(const tensorboard::Event& event, const std::string& tag, std::vector<StepHistogram>& found) {
  const auto drop_from = [&](int64_t step) {
    std::erase_if(found, [&](const StepHistogram& one) { return one.step >= step; });
  };
  if (event.has_session_log() && event.session_log().status() == tensorboard::SessionLog::START)
    drop_from(event.step());
  if (!event.has_summary()) return;
  for (const auto& value : event.summary().value()) {
    if (value.tag() != tag || !value.has_histo()) continue;
    const auto& histogram = value.histo();
    const bool fits = histogram.bucket_limit_size() == histogram.bucket_size() && histogram.bucket_size() > 0 &&
                      histogram.bucket_size() <= kMostBuckets;
    if (!fits || found.size() == kMostHistograms) continue;
    drop_from(event.step());
    found.push_back({.step = event.step(),
                     .least = histogram.min(),
                     .limits = {histogram.bucket_limit().begin(), histogram.bucket_limit().end()},
                     .counts = {histogram.bucket().begin(), histogram.bucket().end()}});
  }
}

}  // namespace

std::vector<StepHistogram> read_histograms(const fs::path& folder, const std::string& tag) {
  std::vector<StepHistogram> found;
  for (const fs::path& path : event_files(folder)) {
    TfRecordReader records(path);
    while (const auto message = records.next()) {
      tensorboard::Event event;
      if (!event.ParseFromString(*message)) break;
      add(event, tag, found);
    }
  }
  return found;
}

}  // namespace beit

#include "train/events.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/process.h"
#include "data/image.h"
#include "train/events.pb.h"
#include "train/tf_record.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr int64_t kBuckets = 30;

tensorboard::Event event_at(int64_t step) {
  tensorboard::Event event;
  event.set_wall_time(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  event.set_step(step);
  return event;
}

std::string head(int64_t done_steps) {
  auto version = event_at(0), start = event_at(done_steps + 1);
  version.set_file_version("brain.Event:2");
  start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  return tf_record(version.SerializeAsString()) + tf_record(start.SerializeAsString());
}

/// An event of one value under a tag, which `set` sets.
template <class Set>
std::string summary_record(const std::string& tag, int64_t step, Set set) {
  auto event = event_at(step);
  auto* value = event.mutable_summary()->add_value();
  value->set_tag(tag);
  set(*value);
  return tf_record(event.SerializeAsString());
}

/// The seconds in the newest event file's name; 0 without one.
int64_t newest_seconds(const fs::path& folder) {
  int64_t newest = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    int64_t seconds = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), seconds);
    newest = std::max(newest, seconds);
  }
  return newest;
}

/// Files are read in the order of their names, also where two begin within one second or the clock was set back.
fs::path new_path(const fs::path& folder) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t seconds =
      std::max<int64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count(), newest_seconds(folder) + 1);
  return folder / fmt::format("{}{}.{}.{}", kPrefix, seconds, host_name(), ::getpid());
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

EventWriter::EventWriter(const fs::path& folder, int64_t done_steps) : head_(head(done_steps)) {
  std::error_code ignored;  // opening says what is wrong
  fs::create_directories(folder, ignored);
  path_ = new_path(folder);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  require(file_ >= 0, "{}: expected to create this file of events, got \"{}\"; free some space or choose another place",
          path_.string(), std::strerror(errno));
  append("");
}

EventWriter::~EventWriter() {
  if (file_ >= 0) ::close(file_);
}

void EventWriter::append(const std::string& record) {
  if (file_ < 0) return;
  const std::string bytes = written_bytes_ == 0 ? head_ + record : record;
  if (write_all(file_, bytes)) {
    written_bytes_ += static_cast<int64_t>(bytes.size());
    return;
  }
  if (!complained_) {
    log().error(
        "{}: expected to write an event, got \"{}\" at offset {}; free some space: what TensorBoard shows lacks "
        "it, training goes on",
        path_.string(), std::strerror(errno), written_bytes_);
    complained_ = true;
  }
  // Nothing after half a record could be read.
  if (::ftruncate(file_, written_bytes_) == 0) return;
  ::close(file_);
  file_ = -1;
}

void EventWriter::scalar(const std::string& tag, double value, int64_t step) {
  append(summary_record(tag, step, [&](auto& entry) { entry.set_simple_value(static_cast<float>(value)); }));
}

void EventWriter::image(const std::string& tag, const torch::Tensor& pixels_HWC, int64_t step) {
  const auto png = encode_png(pixels_HWC);
  append(summary_record(tag, step, [&](auto& entry) {
    auto* image = entry.mutable_image();
    image->set_height(static_cast<int32_t>(pixels_HWC.size(0)));
    image->set_width(static_cast<int32_t>(pixels_HWC.size(1)));
    image->set_colorspace(static_cast<int32_t>(pixels_HWC.size(2)));
    image->set_encoded_image_string(png.data(), png.size());
  }));
}

void EventWriter::histogram(const std::string& tag, const torch::Tensor& values, int64_t step) {
  const torch::NoGradGuard no_grad;
  const auto all = values.detach().to(torch::kCPU, torch::kFloat64).flatten();
  const auto finite = all.masked_select(all.isfinite());
  if (finite.numel() == 0) return;
  const auto least = finite.min().item<double>(), most = finite.max().item<double>();
  // Values that are all alike take one interval.
  const bool alike = least == most;
  const auto limits =
      alike ? finite.slice(0, 0, 1) : torch::linspace(least, most, kBuckets + 1, torch::kFloat64).slice(0, 1);
  const auto counts = alike ? torch::full({1}, static_cast<double>(finite.numel()), torch::kFloat64)
                            : torch::histc(finite, kBuckets, least, most);
  append(summary_record(tag, step, [&](auto& entry) {
    auto* histogram = entry.mutable_histo();
    histogram->set_min(least);
    histogram->set_max(most);
    histogram->set_num(static_cast<double>(finite.numel()));
    histogram->set_sum(finite.sum().template item<double>());
    histogram->set_sum_squares(finite.square().sum().template item<double>());
    for (int64_t i = 0; i < counts.size(0); ++i) {
      histogram->add_bucket_limit(limits[i].template item<double>());
      histogram->add_bucket(counts[i].template item<double>());
    }
  }));
}

}  // namespace beit

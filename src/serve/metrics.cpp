#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace beit {
namespace {

const std::vector<double>& latency_bounds() {
  static const std::vector<double> bounds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
  return bounds;
}

std::string head(std::string_view name, std::string_view type, std::string_view help) {
  return fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

}  // namespace

void Histogram::add(double value) {
  const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  ++counts_[static_cast<size_t>(bucket)];
  sum_ += value;
}

std::string Histogram::text(std::string_view name, const std::string& labels) const {
  std::string text;
  const std::string before = labels.empty() ? "" : labels + ",";
  uint64_t count = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < bounds_.size() ? fmt::format("{}", bounds_[i]) : "+Inf";
    text += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, before, bound, count);
  }
  const std::string of = labels.empty() ? "" : "{" + labels + "}";
  return text + fmt::format("{0}_sum{1} {2}\n{0}_count{1} {3}\n", name, of, sum_, count);
}

void Metrics::note_request(const std::string& path, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{path, status}];
  latencies_.try_emplace(path, latency_bounds()).first->second.add(seconds);
}

void Metrics::note_refusal(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ++refusals_[reason];
}

void Metrics::note_batch(int64_t images, double seconds) {
  const std::lock_guard lock(mutex_);
  batches_.add(static_cast<double>(images));
  images_ += static_cast<uint64_t>(images);
  busy_s_ += seconds;
}

std::string Metrics::text(const Now& now) const {
  const std::lock_guard lock(mutex_);
  std::string text = head("beit_requests_total", "counter", "Requests that were answered, by path and status.");
  for (const auto& [key, count] : requests_) {
    text += fmt::format("beit_requests_total{{path=\"{}\",code=\"{}\"}} {}\n", key.first, key.second, count);
  }
  text += head("beit_request_seconds", "histogram", "From a request's first byte to the end of its answer.");
  for (const auto& [path, latency] : latencies_) {
    text += latency.text("beit_request_seconds", fmt::format("path=\"{}\"", path));
  }
  text += head("beit_rejected_total", "counter", "Requests that were refused, by the code of the error.");
  for (const auto& [reason, count] : refusals_) {
    text += fmt::format("beit_rejected_total{{reason=\"{}\"}} {}\n", reason, count);
  }
  text += head("beit_batch_images", "histogram", "Images of a batch.") + batches_.text("beit_batch_images", "");
  text += head("beit_images_total", "counter", "Images that were computed.");
  text += fmt::format("beit_images_total {}\n", images_);
  text += head("beit_compute_seconds_total", "counter", "Time in which the network computed.");
  text += fmt::format("beit_compute_seconds_total {}\n", busy_s_);
  text += head("beit_queue_images", "gauge", "Images that wait for a batch.");
  text += fmt::format("beit_queue_images {}\n", now.queued);
  text += head("beit_images_under_way", "gauge", "Images of requests that are not answered yet.");
  text += fmt::format("beit_images_under_way {}\n", now.under_way);
  text += head("beit_connections", "gauge", "Open connections.");
  text += fmt::format("beit_connections {}\n", now.connections);
  return text;
}

}  // namespace beit

#include "cli/needs.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "cli/table.h"
#include "train/progress.h"

namespace beit {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::string seconds_of_a_step(double seconds) {
  return seconds < 1 ? fmt::format("{:.3g} ms", 1e3 * seconds) : fmt::format("{:.3g} s", seconds);
}

Verdict compared(const std::string& what, int64_t need, const std::optional<int64_t>& available,
                 const std::string& detail, const std::string& remedy) {
  return {.what = what,
          .need = readable_bytes(need),
          .detail = detail,
          .available = available ? readable_bytes(*available) : "unknown",
          .remedy = available && need > *available ? remedy : ""};
}

}  // namespace

int64_t checkpoints_kept(int64_t written, int64_t every, const Extent& extent) {
  const int64_t older = std::max<int64_t>(0, written - extent.keep_checkpoints);
  if (extent.keep_every == 0) return written - older;
  return written - older + older / (extent.keep_every / std::gcd(every, extent.keep_every));
}

Needs needs_of(const Trial& trial, const Extent& extent) {
  Needs needs;
  const int64_t all = extent.epochs > 0 ? extent.epochs * trial.steps_per_epoch : extent.step_limit;
  needs.steps = extent.step_limit > 0 ? std::min(extent.step_limit, all) : all;
  needs.steps_left = std::max<int64_t>(0, needs.steps - extent.done);
  const int64_t every = extent.checkpoint_every > 0 ? extent.checkpoint_every : trial.steps_per_epoch;
  const int64_t written = (needs.steps + every - 1) / every, still = (needs.steps_left + every - 1) / every;
  needs.step_s = median(trial.step_s);
  needs.seconds = needs.step_s * static_cast<double>(needs.steps_left) + trial.pause_s * static_cast<double>(still);
  needs.data_wait = median(trial.data_wait);
  needs.memory_bytes = trial.memory_bytes * trial.ranks;
  needs.device_memory_bytes = trial.device_memory_bytes;
  needs.checkpoints = checkpoints_kept(written - 1, every, extent) + 1;
  needs.disk_bytes = trial.weights_bytes + needs.checkpoints * trial.checkpoint_bytes;
  needs.disk_bytes_more = std::max<int64_t>(0, needs.disk_bytes - extent.bytes_there);
  return needs;
}

std::vector<Verdict> verdicts(const Trial& trial, const Needs& needs, const Available& available) {
  std::vector<Verdict> all;
  all.push_back(
      compared("memory", needs.memory_bytes, available.memory,
               trial.ranks > 1 ? fmt::format("{} ranks of {}", trial.ranks, readable_bytes(trial.memory_bytes)) : "",
               trial.device_memory_bytes > 0 ? "fewer --workers or --ranks" : trial.less_memory));
  if (trial.device_memory_bytes > 0)
    all.push_back(compared("GPU memory", needs.device_memory_bytes, available.device_memory, "", trial.less_memory));
  all.push_back(
      compared("disk", needs.disk_bytes_more, available.disk,
               fmt::format("weights of {}, {} checkpoint{} of {}{}", readable_bytes(trial.weights_bytes),
                           needs.checkpoints, needs.checkpoints == 1 ? "" : "s", readable_bytes(trial.checkpoint_bytes),
                           needs.disk_bytes_more < needs.disk_bytes ? ", some of it there" : ""),
               "a larger --keep-every, a smaller --keep-checkpoints, or another --output"));
  const double images_per_s = static_cast<double>(trial.batch_size) / std::max(needs.step_s, 1e-9);
  const std::string waiting =
      trial.data_wait.empty() ? "" : fmt::format(", {:.0f}% of it waiting for images", 100 * needs.data_wait);
  all.push_back({.what = "time",
                 .need = readable_seconds(needs.seconds),
                 .detail = fmt::format("{} steps of {}, {:.4g} images/s{}", needs.steps_left,
                                       seconds_of_a_step(needs.step_s), images_per_s, waiting),
                 .available = {},
                 .remedy = {}});
  return all;
}

}  // namespace beit

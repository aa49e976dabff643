#include "data/check.h"

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "data/for_each.h"
#include "data/image.h"

namespace beit {

Checked check_images(const Dataset& dataset, int64_t first, int64_t count, int64_t workers) {
  require(first >= 0 && count >= 0 && count <= dataset.size() - first && workers > 0,
          "check: expected some of {} images and 1 worker at least, got {} from {} and {}", dataset.size(), count,
          first, workers);
  constexpr int64_t kAhead = 16;  // images
  Checked checked;
  std::mutex mutex;
  for_each_parallel(count, workers, [&](int64_t i) {
    const int64_t index = first + i;
    if (i + kAhead < count) dataset.prefetch(index + kAhead);
    int64_t bytes = 0;
    std::string reason;
    try {
      const auto encoded = dataset.read(index);
      bytes = std::ssize(encoded);
      decode_image(encoded, dataset.path(index));
    } catch (const Error& error) {
      reason = error.what();
    }
    const std::lock_guard lock(mutex);
    checked.bytes += bytes;
    if (!reason.empty()) checked.damaged.push_back({index, std::move(reason)});
  });
  std::ranges::sort(checked.damaged, {}, &Damage::index);
  return checked;
}

}  // namespace beit

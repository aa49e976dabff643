// `beit data check`: reads and decodes every image and names those that are damaged.
#include <chrono>

#include "base/config.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/interrupt.h"
#include "data/check.h"
#include "train/progress.h"

namespace beit {
namespace {

struct DataCheck {
  DataOptions data;
  bool quiet = false;

  OptionList options() {
    return join({pick(describe(data), {"data", "workers"}),
                 {{.name = "quiet", .value = &quiet, .help = "name damaged images only"}}});
  }

  void run() {
    constexpr int64_t kPart = 1024;  // images between two lines of progress
    const auto start = std::chrono::steady_clock::now();
    const auto stopped = stop_on_signal();
    const Dataset images = open_images(data.data, "data");
    int64_t bytes = 0, damaged = 0;
    Progress progress(0, images.size(), 1, !quiet);
    for (int64_t first = 0; first < images.size(); first += kPart) {
      const int64_t count = std::min(kPart, images.size() - first);
      const Checked part = check_images(images, first, count, data.workers);
      progress.clear();
      for (const Damage& damage : part.damaged) fmt::print("{}\n", on_one_line(damage.reason));
      bytes += part.bytes;
      damaged += std::ssize(part.damaged);
      progress.show(first + count, fmt::format("{} damaged", damaged));
      require(first + count == images.size() || !stopped(),
              "data check: stopped after {} of {} images, {} of them damaged", first + count, images.size(), damaged);
    }
    progress.clear();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (!quiet) {
      fmt::print("{} images, {} damaged, {} bytes, {:.1f} s\n", images.size(), damaged, bytes, seconds.count());
    }
    require(damaged == 0, "data check: expected images that can all be read, got {} damaged of {}, named above",
            damaged, images.size());
  }
};

}  // namespace

Command data_check_command() {
  return make_command<DataCheck>("data check", "Read and decode every image, and name those that are damaged");
}

}  // namespace beit

// `beit data bench`: how fast images come, and where the time goes.
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/data_views.h"

namespace beit {
namespace {

constexpr int64_t kWarmUp = 2;  // batches that are not counted

struct DataBench {
  ViewChoice views;
  int64_t batch_size = 64, batches = 20;

  OptionList options() {
    return join(
        {views.options(),
         pick(describe(views.data), {"data-weight", "shuffle", "shuffle-window"}),
         {{.name = "batch-size", .value = &batch_size, .help = "images of a batch", .range = {.least = 1, .most = 1e6}},
          {.name = "batches",
           .value = &batches,
           .help = "to measure, after two that are not counted; epoch after epoch",
           .range = {.least = 1}}}});
  }

  void run() {
    const Dataset images = views.open();
    Loader loader = views.loader(images, batch_size, /*in_order=*/false);
    int64_t epoch = 0;
    loader.start(epoch);
    const auto take = [&](int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        auto batch = loader.next();
        while (!batch) {
          loader.start(++epoch);
          batch = loader.next();
        }
      }
    };
    take(kWarmUp);
    const StageTimes before = loader.times();
    const auto start = std::chrono::steady_clock::now();
    take(batches);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const StageTimes after = loader.times();

    nlohmann::ordered_json us_per_image;
    for (const auto& [stage, us] : after.us_per_image(before)) us_per_image[stage] = us;
    const nlohmann::ordered_json line{
        {"transform", views.transform},
        {"image_size", views.image_size},
        {"decode", views.is_training() ? views.data.decode : "exact"},
        {"workers", views.data.workers},
        {"batch_size", batch_size},
        {"batches", batches},
        {"damaged_images", loader.damaged()},
        {"images_per_s", static_cast<double>(after.images - before.images) / seconds.count()},
        {"us_per_image", us_per_image}};
    fmt::print("{}\n", line.dump());
  }
};

}  // namespace

Command data_bench_command() {
  return make_command<DataBench>("data bench", "Measure how fast images come, and where the time goes");
}

}  // namespace beit

#include "train/device_batches.h"

#include <doctest/doctest.h>

#include "data/augment.h"
#include "tests/data/samples.h"
#include "tests/gpu/gpu.h"
#include "tests/support.h"

namespace beit {
namespace {

Views image_and_flags(EncodedImage& image, const SampleRequest& sample) {
  const auto image_CHW = to_float(image.decode());
  return {image_CHW, image_CHW.select(0, 0).gt(0.5).contiguous(), torch::full({}, sample.index, torch::kInt64)};
}

TEST_CASE("gpu: batches come there as they are on the CPU, two epochs long, but for flags, which stay") {
  const auto device = gpu();
  if (!device) return;
  const TemporaryFolder folder;
  for (int64_t i = 0; i < 11; ++i)
    write_bytes(folder.path / fmt::format("{:02}.png", i), encode_png(picture(6, 6, static_cast<uint64_t>(i))));
  const auto dataset = Dataset::open(std::vector{folder.path});
  for (const bool pinned : {true, false}) {
    const LoaderOptions options{.batch_size = 4, .drop_last = false, .pin_memory = pinned};
    Loader here(dataset, image_and_flags, options), for_gpu(dataset, image_and_flags, options);
    DeviceBatches there(for_gpu, *device);
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      here.start(epoch);
      there.start(epoch);
      while (const auto expected = here.next()) {
        const auto found = there.next();
        REQUIRE(found.has_value());
        CHECK(found->views[0].device() == *device);
        CHECK(found->views[1].is_cpu());
        CHECK(torch::equal(found->indices_B, expected->indices_B));
        for (size_t i = 0; i < expected->views.size(); ++i)
          CHECK(torch::equal(found->views[i].cpu(), expected->views[i]));
      }
      CHECK(!there.next());
    }
  }
}

}  // namespace
}  // namespace beit

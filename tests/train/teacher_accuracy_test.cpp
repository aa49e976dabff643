// A teacher from the file to the class: photographs through the data level and the network.
#include <doctest/doctest.h>
#include <torch/torch.h>

#include "core/efficientnet_lite.h"
#include "data/loader.h"
#include "data/views.h"
#include "io/pth.h"
#include "tests/support.h"

using namespace beit;

TEST_CASE("teacher accuracy: EfficientNet-Lite2 names nine of ten ImageNet photographs") {
  const auto weights = fetched_file("teacher/efficientnet-lite2.pth");
  const auto folder = shared_file("data/imagenet-sample");
  if (!weights || !folder) return;
  const EfficientNetLite network(read_pth(*weights).tensors);
  const auto images = Dataset::open(std::vector{*folder});
  REQUIRE(images.size() == 500);
  const auto view = [](EncodedImage& image, const SampleRequest&) -> Views {
    return {evaluation_view(image, {224, 224})};
  };
  Loader loader(
      images, view,
      {.batch_size = 20, .order = {.shuffle = Shuffle::kNone}, .drop_last = false, .on_damage = OnDamage::kFail});
  loader.start(0);
  int64_t right = 0;
  while (const auto batch = loader.next()) {
    // Sorted by name, the images are those of every other class.
    right += network.logits(batch->views[0]).argmax(1).eq(2 * batch->indices_B).sum().item<int64_t>();
  }
  const double accuracy = static_cast<double>(right) / 500;
  CHECK(std::abs(accuracy - 0.89) < 0.02);  // measured: 445 of 500
}

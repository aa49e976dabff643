// The teacher's features, computed and from a file.
#include "train/targets.h"

#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/core/small_teachers.h"
#include "tests/train/small_models.h"
#include "train/evaluation.h"

namespace beit {
namespace {

TEST_CASE("targets: a cache holds each image's features and its mirror image's, as they are computed without it") {
  const TemporaryFolder folder;
  const auto weights = folder.path / "teacher.safetensors";
  write_safetensors(weights, small_efficientnet());
  const std::vector<std::filesystem::path> sources{source_folder() / "demo/data/cifar10-small-test.tar"};
  const Dataset images = Dataset::open(sources);
  ModelOptions model = kSmallModel;
  resolve(model);
  const DataOptions data{.workers = 1};
  TeacherChoice choice{.teacher = "efficientnet-lite", .teacher_weights = weights};
  Targets computed(choice, model, images, data, torch::kCPU);
  choice.teacher_cache = folder.path / "cache.safetensors";
  Targets made(choice, model, images, data, torch::kCPU), read(choice, model, images, data, torch::kCPU);

  Loader loader(images, evaluation_transform(model), evaluation_loading(data, 50));
  loader.start(/*epoch=*/0);
  while (const auto batch = loader.next()) {
    const auto& upright_BCHW = batch->views[0];
    for (const bool mirrored : {false, true}) {
      CAPTURE(mirrored);
      const auto mirrored_B = torch::full({upright_BCHW.size(0)}, mirrored, torch::kBool);
      const auto expected = computed.of(mirrored ? upright_BCHW.flip(-1) : upright_BCHW, batch->indices_B, mirrored_B);
      const auto found = made.of({}, batch->indices_B, mirrored_B);
      CHECK(torch::allclose(found, expected, /*rtol=*/1e-3, /*atol=*/1e-3));  // float16
      CHECK(torch::equal(found, read.of({}, batch->indices_B, mirrored_B)));
    }
  }
}

}  // namespace
}  // namespace beit

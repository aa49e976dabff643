// Shape letters: H and W pixels, K classes.
#include "train/segment.h"

#include <doctest/doctest.h>

#include "core/normalise.h"
#include "core/window_scores.h"
#include "data/png.h"
#include "tests/data/samples.h"
#include "tests/support.h"
#include "tests/train/small_segment.h"
#include "viz/label_picture.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// Images of different sizes with labels at random, below kSmallSegments or ignored.
struct SmallSet {
  TemporaryFolder folder;
  std::vector<fs::path> sources{folder.path / "images"}, folders{folder.path / "labels"};

  SmallSet() {
    torch::manual_seed(4);
    for (int64_t i = 0; i < 5; ++i) {
      const int64_t height = 30 + 7 * i, width = 60 - 5 * i;
      auto labels_HW = torch::randint(kSmallSegments, {height, width}, torch::kUInt8);
      labels_HW.narrow(0, 0, 3).fill_(kIgnoredLabel);
      write_png(sources[0] / fmt::format("{}.png", i), picture(height, width, static_cast<uint64_t>(i)));
      write_bytes(folders[0] / fmt::format("{}.png", i), encode_png_indices(labels_HW, label_palette()));
    }
  }
};

TEST_CASE("segment: training samples are the view of an image and its own label map, by epoch and seed") {
  const SmallSet set;
  const Dataset images = Dataset::open(set.sources);
  const LabelMaps labels(images, set.sources, set.folders, {.classes = kSmallSegments});
  const SegmentationViewOptions view{.limit = {40, 160}, .crop = {32, 32}};
  const auto transform = segment_transform(labels, view, /*seed=*/3);
  for (const int64_t index : {0, 4}) {
    const auto bytes = images.read(index);
    EncodedImage image(bytes, images.path(index));
    const auto views = transform(image, {.epoch = 2, .index = index, .stream = index});
    Random random(3, 2, static_cast<uint64_t>(index), Purpose::kAugment);
    const auto expected =
        segmentation_training_view(decode_image(bytes, "image"), labels.read(index, image.size()), view, random);
    REQUIRE(views.size() == 2);
    CHECK(torch::equal(views[0], expected.image_CHW));
    CHECK(torch::equal(views[1], expected.labels_HW));
    EncodedImage again(bytes, images.path(index));
    CHECK(!torch::equal(transform(again, {.epoch = 3, .index = index, .stream = index})[0], views[0]));
  }
}

TEST_CASE("segment: images of all sizes are foretold as one by one, and ranks share them") {
  const SmallSet set;
  const Dataset images = Dataset::open(set.sources);
  const LabelMaps labels(images, set.sources, set.folders, {.classes = kSmallSegments});
  Segmenter model = write_small_segmenter(set.folder.path / "model.safetensors");
  model->train();
  const WindowOptions windows{.long_side = 80, .short_side = 40, .stride = 20, .flip = true, .scales = {"1", "0.8"}};
  std::vector<torch::Tensor> foretold(5);
  for (const int64_t rank : {1, 0}) {
    segment_images(model, images, rank == 0 ? &labels : nullptr, {windows, 3}, rank, 2,
                   [&](const SegmentedImage& image) {
                     CHECK(image.index % 2 == rank);
                     CHECK(image.labels_HW.defined() == (rank == 0));
                     CHECK(image.predicted_HW.sizes() == image.pixels_HWC.sizes().slice(0, 2));
                     foretold[static_cast<size_t>(image.index)] = image.predicted_HW;
                   });
  }
  CHECK(!model->is_training());
  for (int64_t i = 0; i < 5; ++i) {
    const auto pixels_HWC = decode_image(images.read(i), "image");
    std::vector<torch::Tensor> views;
    for (const ImageSize limit : {ImageSize{40, 80}, ImageSize{32, 64}}) {
      views.push_back(segmentation_test_view(pixels_HWC, {.limit = limit}).unsqueeze(0));
    }
    const auto scores = window_scores(model, views, pixels_HWC.size(0), pixels_HWC.size(1), windows);
    CHECK(torch::equal(foretold[static_cast<size_t>(i)].to(torch::kInt64), scores.argmax(1)[0]));
  }
  CHECK_THROWS_AS(scales_of({.scales = {"1", "0"}}), Error);
  CHECK_THROWS_AS(scales_of({.scales = {"x"}}), Error);
  CHECK(scales_of({}) == std::vector<double>{1});
}

TEST_CASE("segment: validation counts every labelled pixel of the set once, and figures are shares") {
  const SmallSet set;
  const Dataset images = Dataset::open(set.sources);
  const LabelMaps labels(images, set.sources, set.folders, {.classes = kSmallSegments});
  Segmenter model = write_small_segmenter(set.folder.path / "model.safetensors");
  const WindowOptions windows{.long_side = 80, .short_side = 40, .stride = 0};
  const SegmentValidation validation{images, labels, {windows, 2}};
  Distributed alone;
  SegmentTask task(model, 0.4, {}, &validation, torch::Device(torch::kCPU), alone);
  model->train();
  const auto figures = task.validate();
  CHECK(model->is_training());
  int64_t right = 0, all = 0;
  std::array<double, kSmallSegments> both{}, either{}, labelled{};
  segment_images(model, images, &labels, {windows, 1}, 0, 1, [&](const SegmentedImage& image) {
    for (int64_t y = 0; y < image.labels_HW.size(0); ++y) {
      for (int64_t x = 0; x < image.labels_HW.size(1); ++x) {
        const auto label = image.labels_HW[y][x].item<uint8_t>(), said = image.predicted_HW[y][x].item<uint8_t>();
        if (label == kIgnoredLabel) continue;
        ++all;
        ++labelled[label];
        ++either[label];
        if (said != label) ++either[said];
        if (said == label) ++right, ++both[label];
      }
    }
  });
  double iou = 0, accuracy = 0;
  for (size_t i = 0; i < kSmallSegments; ++i) {
    iou += both[i] / either[i] / kSmallSegments;
    accuracy += both[i] / labelled[i] / kSmallSegments;
  }
  CHECK(figures["val_miou"].get<double>() == doctest::Approx(100 * iou));
  CHECK(figures["val_macc"].get<double>() == doctest::Approx(100 * accuracy));
  CHECK(figures["val_aacc"].get<double>() ==
        doctest::Approx(100 * static_cast<double>(right) / static_cast<double>(all)));
}

TEST_CASE("segment: a refused step leaves batch norm's statistics, a taken one moves them; pictures change nothing") {
  torch::manual_seed(2);
  const TemporaryFolder folder;
  Segmenter model = write_small_segmenter(folder.path / "model.safetensors");
  Distributed alone;
  SegmentTask task(model, 0.4, {.rate = 0.5, .depth = 2}, nullptr, torch::Device(torch::kCPU), alone);
  CHECK(task.layer_decay().rate == 0.5);
  CHECK(task.validate().empty());
  const Batch batch{{torch::randn({10, 3, 32, 32}), torch::randint(kSmallSegments, {10, 32, 32}, torch::kUInt8)},
                    torch::arange(10),
                    torch::arange(10)};
  const auto statistics = [&] {
    std::vector<torch::Tensor> values;
    for (const auto& item : model->named_buffers()) values.push_back(item.value().clone());
    return values;
  };
  const auto unchanged = [&](const std::vector<torch::Tensor>& before) {
    const auto now = statistics();
    return std::ranges::equal(before, now, [](const auto& a, const auto& b) { return torch::equal(a, b); });
  };
  model->train();
  const auto before = statistics();
  const auto loss = task.loss(batch, {});
  CHECK(loss.parts.size() == 3);
  CHECK(loss.total.item<double>() ==
        doctest::Approx(loss.parts[0].second.item<double>() + 0.4 * loss.parts[1].second.item<double>()));
  task.step_refused();
  task.step_taken();  // of nothing
  CHECK(unchanged(before));
  task.loss(batch, {});
  task.step_taken();
  CHECK(!unchanged(before));

  const auto moved = statistics();
  const auto random = at::detail::getDefaultCPUGenerator().get_state();
  const auto pictures = task.pictures(batch);
  REQUIRE(pictures.size() == 1);
  CHECK(pictures[0].pixels_HWC.sizes() == torch::IntArrayRef({4 * 32 + 3 * 4, 2 * (3 * 32 + 2 * 4) + 20, 3}));
  CHECK(unchanged(moved));
  CHECK(model->is_training());
  CHECK(torch::equal(random, at::detail::getDefaultCPUGenerator().get_state()));
}

}  // namespace
}  // namespace beit

// Shape letters: B images, C channels, K classes, H and W height and width.
#include "core/segmenter.h"

#include <array>

#include "base/error.h"
#include "core/step_part.h"
#include "tests/core/autocast.h"
#include "tests/core/golden.h"
#include "tests/core/simulated_ranks.h"
#include "tests/core/small_networks.h"
#include "tests/core/small_segmenter.h"
#include "tests/support.h"

namespace beit {
namespace {

TensorMap in_float64(TensorMap tensors) {
  for (auto& [name, tensor] : tensors) {
    if (tensor.is_floating_point()) tensor = tensor.to(torch::kFloat64);
  }
  return tensors;
}

struct Step {
  torch::Tensor images_BCHW, labels_BHW;

  explicit Step(int64_t images, torch::ScalarType dtype = torch::kFloat64) {
    torch::manual_seed(40);
    images_BCHW = torch::randn({images, 3, 32, 32}).to(dtype);
    labels_BHW = torch::randint(5, {images, 32, 32}, torch::kUInt8);
    labels_BHW.masked_fill_(torch::rand({images, 32, 32}).lt(0.2), 255);
  }
};

/// Every parameter has a gradient in `expected`, and it is that, but for what rounding leaves of a true zero: the
/// biases before a batch norm.
void check_equal_gradients(const torch::nn::Module& module, const TensorMap& expected, double tolerance) {
  const auto found = gradients(module);
  CHECK(found.size() == module.parameters().size());
  CHECK(found.size() == expected.size());
  for (const auto& [name, gradient] : found) {
    CAPTURE(name);
    const double zero = gradient.abs().max().item<double>() + expected.at(name).abs().max().item<double>();
    if (zero > 1e-14) CHECK(relative_difference(gradient, expected.at(name)) < tolerance);
  }
}

TEST_CASE("segmenter: logits, losses, running statistics and every gradient equal PyTorch's") {
  const auto path = golden("segmenter.safetensors");
  const auto file = in_float64(read_safetensors(path).tensors);
  Segmenter segmenter(small_segmenter());
  load_state_dict_strict(*segmenter, tensors_under(read_safetensors(path).tensors, "w."), "golden/segmenter");
  segmenter->to(torch::kFloat64);
  const auto logits = segmenter->forward(file.at("in.images"));
  const auto loss = segmentation_loss(logits, file.at("in.labels"), 0.4);
  loss.total.backward();
  CHECK(difference(logits.main_BKhw, file.at("out.main")) < 1e-6);
  CHECK(difference(logits.auxiliary_BKhw, file.at("out.auxiliary")) < 1e-6);
  CHECK(difference(loss.total, file.at("out.loss")) < 1e-6);
  CHECK(difference(loss.main, file.at("out.loss_main")) < 1e-6);
  CHECK(difference(loss.auxiliary, file.at("out.loss_auxiliary")) < 1e-6);
  CHECK(difference(loss.accuracy, file.at("out.accuracy")) < 1e-6);
  check_equal_gradients(*segmenter, tensors_under(file, "grad."), 1e-6);

  const auto running = tensors_under(file, "running."), before = tensors_under(file, "w.");
  CHECK(running.size() == 14 * 3);
  const auto buffers = segmenter->named_buffers();
  for (const auto& [name, expected] : running) CHECK(difference(buffers[name], before.at(name)) == 0);
  segmenter->update_statistics();
  for (const auto& [name, expected] : running) {
    CAPTURE(name);
    CHECK(difference(buffers[name], expected) < 1e-6);
  }
}

TEST_CASE("segmenter: the blocks of the pyramid are those of the published networks; others are refused") {
  CHECK(pyramid_layers(12) == std::vector<int64_t>{4, 6, 8, 12});
  CHECK(pyramid_layers(24) == std::vector<int64_t>{8, 12, 16, 24});
  CHECK(Segmenter(small_segmenter())->options().layers == std::vector<int64_t>{1, 2, 3, 4});
  for (const int64_t depth : {1, 2, 3}) {  // a block may serve twice
    auto options = small_segmenter();
    options.vit.depth = depth;
    Segmenter shallow(options);
    const auto logits = shallow->forward(Step(2, torch::kFloat32).images_BCHW);
    CHECK(logits.main_BKhw.sizes() == torch::IntArrayRef({2, 5, 32, 32}));
    CHECK(logits.auxiliary_BKhw.sizes() == torch::IntArrayRef({2, 5, 8, 8}));
  }
  auto options = small_segmenter();
  for (const auto& layers : {std::vector<int64_t>{1, 2, 4}, {1, 2, 3, 3}, {2, 1, 3, 4}, {0, 2, 3, 4}}) {
    options.layers = layers;
    CHECK_THROWS_WITH_AS(Segmenter{options}, doctest::Contains("four rising layers from 1 to 4"), Error);
  }
}

TEST_CASE("segmenter: ranks with parts of a batch take the step of one with all") {
  const Step step(6);
  torch::manual_seed(41);
  Segmenter whole(small_segmenter());
  whole->to(torch::kFloat64);
  segmentation_loss(whole->forward(step.images_BCHW), step.labels_BHW, 0.4).total.backward();
  whole->update_statistics();
  SimulatedRanks simulated(2);
  std::vector<Segmenter> segmenters;
  for (int64_t rank = 0; rank < 2; ++rank) {
    segmenters.emplace_back(small_segmenter(), simulated.ranks(rank));
    segmenters.back()->to(torch::kFloat64);
    load_state_dict_strict(
        *segmenters.back(),
        [&] {
          auto tensors = state_dict(*whole);
          for (auto& [name, tensor] : tensors) {
            if (name.ends_with("running_mean") || name.ends_with("tracked")) tensor = torch::zeros_like(tensor);
            if (name.ends_with("running_var")) tensor = torch::ones_like(tensor);
          }
          return tensors;
        }(),
        "whole");
  }
  simulated.run([&](int64_t rank) {
    auto& segmenter = segmenters[static_cast<size_t>(rank)];
    const int64_t first = rank * 2, end = rank == 0 ? 2 : 6;
    const auto logits = segmenter->forward(step.images_BCHW.slice(0, first, end));
    const auto loss = segmentation_loss(logits, step.labels_BHW.slice(0, first, end), 0.4).total;
    (loss * (static_cast<double>(end - first) / 6)).backward();
    segmenter->update_statistics();
  });
  auto sums = gradients(*segmenters[0]);
  for (const auto& [name, gradient] : gradients(*segmenters[1])) sums.at(name) += gradient;
  check_equal_gradients(*whole, sums, 1e-9);
  for (const auto& found : whole->named_buffers()) {
    for (const auto& segmenter : segmenters) {
      CHECK(difference(segmenter->named_buffers()[found.key()], found.value()) < 1e-10);
    }
  }
}

TEST_CASE("segmenter: a head leaves out the same channels of a sample in any part") {
  // The same map for each sample, and so the same statistics in each part.
  torch::manual_seed(42);
  FcnHead head(HeadOptions{.in_channels = 6, .channels = 10, .classes = 3, .dropout = 0.4});
  head->to(torch::kFloat64);
  const auto map_BChw = torch::randn({1, 6, 4, 4}, torch::kFloat64).expand({6, -1, -1, -1});
  torch::manual_seed(43);
  const auto whole_BKhw = head->forward(map_BChw);
  CHECK(difference(whole_BKhw[0], whole_BKhw[1]) > 1e-4);
  for (const StepPart& part : deal(6, 3)) {
    torch::manual_seed(43);
    const auto part_BKhw = head->forward(map_BChw.slice(0, 0, 2), part);
    CHECK(difference(part_BKhw, whole_BKhw.index_select(0, part.samples_B)) < 1e-12);
  }
  head->eval();
  const auto mean_BKhw = head->forward(map_BChw);
  CHECK(torch::equal(mean_BKhw[0], mean_BKhw[1]));
}

/// The loss of a step with everything that is drawn; its gradients stay in the segmenter.
torch::Tensor trained(Segmenter& segmenter, torch::ScalarType dtype) {
  const Step step(2, dtype == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32);
  torch::manual_seed(45);
  torch::Tensor loss;
  {
    const CpuAutocast autocast(dtype);
    loss = segmentation_loss(segmenter->forward(step.images_BCHW), step.labels_BHW, 0.4).total;
  }
  loss.backward();
  return loss.detach();
}

Segmenter with_drops() {
  torch::manual_seed(44);
  auto options = small_segmenter();
  options.vit.drop_path = 0.2;
  options.dropout = 0.1;
  return Segmenter(options);
}

TEST_CASE("segmenter: with recomputation a step has the same loss and gradients") {
  std::array<Segmenter, 2> segmenters{with_drops(), with_drops()};
  for (auto& segmenter : segmenters) segmenter->to(torch::kFloat64);
  segmenters[1]->set_recompute(true);
  const auto loss = trained(segmenters[0], torch::kFloat64);
  CHECK(difference(trained(segmenters[1], torch::kFloat64), loss) == 0);
  check_equal_gradients(*segmenters[1], gradients(*segmenters[0]), 1e-9);
}

TEST_CASE("segmenter: a step in mixed precision has a float32 loss near that of float32, and all gradients") {
  Segmenter full = with_drops(), mixed = with_drops();
  const auto expected = trained(full, torch::kFloat32), loss = trained(mixed, torch::kBFloat16);
  CHECK((loss.scalar_type() == torch::kFloat32));
  CHECK(difference(loss, expected) > 0);
  CHECK(difference(loss, expected) < 0.05);
  for (const auto& parameter : mixed->named_parameters()) {
    CAPTURE(parameter.key());
    CHECK(parameter.value().grad().isfinite().all().item<bool>());
  }
}

TEST_CASE("segmenter: the loss is the mean over all pixels, ignored ones as 0, accuracy that of labelled ones") {
  SegmenterLogits logits{.main_BKhw = torch::zeros({1, 2, 1, 2}), .auxiliary_BKhw = torch::zeros({1, 2, 1, 2})};
  logits.main_BKhw[0][1].fill_(std::log(3.0));  // class 1 three times as likely
  const auto labels_BHW = torch::tensor({1, 0, 1, 255, 1, 255, 255, 255}, torch::kUInt8).view({1, 2, 4});
  const auto loss = segmentation_loss(logits, labels_BHW, 0.5);
  const double expected = (3 * std::log(4.0 / 3) + std::log(4.0)) / 8;
  CHECK(loss.main.item<double>() == doctest::Approx(expected));
  CHECK(loss.auxiliary.item<double>() == doctest::Approx(std::log(2.0) / 2));
  CHECK(loss.total.item<double>() == doctest::Approx(expected + std::log(2.0) / 4));
  CHECK(loss.accuracy.item<double>() == doctest::Approx(0.75));
  const auto none = segmentation_loss(logits, torch::full({1, 2, 4}, 255, torch::kUInt8), 0.5);
  CHECK(none.total.item<double>() == 0);
  CHECK(none.accuracy.item<double>() == 0);
  CHECK_THROWS_WITH_AS(segmentation_loss(logits, torch::full({1, 2, 4}, 2, torch::kUInt8), 0.5),
                       doctest::Contains("labels in [0, 2) or 255, got 2"), Error);
  CHECK_THROWS_WITH_AS(segmentation_loss(logits, torch::zeros({1, 2, 4}), 0.5), doctest::Contains("labels as uint8"),
                       Error);
}

TEST_CASE("segmenter: scores of any size are those of the image with zeros to the right and below") {
  torch::manual_seed(46);
  Segmenter segmenter(small_segmenter());
  const auto image_BCHW = torch::randn({2, 3, 37, 26});
  CHECK_THROWS_WITH_AS(segmenter->scores(image_BCHW), doctest::Contains("call eval()"), Error);
  segmenter->eval();
  const torch::NoGradGuard no_grad;
  const auto padded_BCHW = torch::constant_pad_nd(image_BCHW, {0, 2, 0, 3});
  const auto expected_BKHW = segmenter->forward(padded_BCHW).main_BKhw;  // of a patch of 4 pixels: of full size
  const auto scores_BKHW = segmenter->scores(image_BCHW);
  CHECK(difference(scores_BKHW, expected_BKHW.slice(2, 0, 37).slice(3, 0, 26)) < 1e-6);
  CHECK(segmenter->scores(image_BCHW.slice(2, 0, 1).slice(3, 0, 3)).sizes() == torch::IntArrayRef({2, 5, 1, 3}));
  CHECK_THROWS_WITH_AS(segmenter->forward(torch::zeros({2, 3, 4, 32})), doctest::Contains("at least 2x2 patches"),
                       Error);
}

TEST_CASE("segmenter: mistakes in its options are refused") {
  auto options = small_segmenter();
  options.classes = 256;
  CHECK_THROWS_WITH_AS(Segmenter{options}, doctest::Contains("1 to 255 classes, got 256"), Error);
  options = small_segmenter();
  options.dropout = 1;
  CHECK_THROWS_WITH_AS(Segmenter{options}, doctest::Contains("dropout in [0, 1)"), Error);
  options.dropout = 0;
  options.channels = 0;
  CHECK_THROWS_WITH_AS(Segmenter{options}, doctest::Contains("positive channels"), Error);
}

TEST_CASE("segmenter: its backbone is the network's own, without a final norm") {
  Segmenter segmenter(small_segmenter());
  ViT backbone = segmenter->backbone();
  torch::NoGradGuard no_grad;
  backbone->named_parameters()["cls_token"].fill_(5);
  CHECK(segmenter->named_parameters()["backbone.cls_token"].eq(5).all().item<bool>());
  const auto images_BCHW = Step(2, torch::kFloat32).images_BCHW;
  CHECK(torch::equal(backbone->patch_tokens(images_BCHW), backbone->tokens(images_BCHW).slice(1, 1)));
}

}  // namespace
}  // namespace beit

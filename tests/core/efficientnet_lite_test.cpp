#include "core/efficientnet_lite.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "io/pth.h"
#include "tests/core/autocast.h"
#include "tests/core/golden.h"
#include "tests/core/small_teachers.h"

using namespace beit;

namespace {

/// As TensorFlow states it: padding "same", normalisation after the convolution. `w` is small_efficientnet().
struct Stated {
  const NamedTensors& w;

  torch::Tensor layer(const torch::Tensor& x, const std::string& conv, const std::string& norm, int64_t stride,
                      bool relu6, bool depthwise = false) const {
    const auto& weight = w.at(conv + ".weight");
    std::vector<int64_t> pads;
    for (const int64_t dimension : {3, 2}) {
      const int64_t n = x.size(dimension);
      const int64_t total = std::max<int64_t>(((n + stride - 1) / stride - 1) * stride + weight.size(dimension) - n, 0);
      pads.insert(pads.end(), {total / 2, total - total / 2});
    }
    const auto y = torch::conv2d(torch::constant_pad_nd(x, pads), weight, torch::Tensor(), {stride, stride},
                                 at::IntArrayRef{0, 0}, {1, 1}, depthwise ? weight.size(0) : 1);
    const auto normed = torch::batch_norm(y, w.at(norm + ".weight"), w.at(norm + ".bias"), w.at(norm + ".running_mean"),
                                          w.at(norm + ".running_var"), false, 0.0, 1e-3, false);
    return relu6 ? normed.clamp(0, 6) : normed;
  }

  /// The map and the logits.
  std::pair<torch::Tensor, torch::Tensor> run(const torch::Tensor& images) const {
    auto x = layer((images * 255 - 127) / 128, "_conv_stem", "_bn0", 2, true);
    torch::Tensor map;
    constexpr std::array<int64_t, 8> kStrides{1, 2, 1, 2, 2, 1, 2, 1};
    for (size_t i = 0; i < kStrides.size(); ++i) {
      if (i == 6) map = x;
      const auto name = "_blocks." + std::to_string(i) + ".";
      auto y = i == 0 ? x : layer(x, name + "_expand_conv", name + "_bn0", 1, true);
      y = layer(y, name + "_depthwise_conv", name + "_bn1", kStrides[i], true, true);
      y = layer(y, name + "_project_conv", name + "_bn2", 1, false);
      x = i == 2 ? x + y : y;
    }
    x = layer(x, "_conv_head", "_bn1", 1, true).mean({2, 3});
    return {map, torch::linear(x, w.at("_fc.weight"), w.at("_fc.bias"))};
  }
};

}  // namespace

TEST_CASE("efficientnet-lite: Lite2's map and logits are those of the published network") {
  const auto path = fetched_file("teacher/efficientnet-lite2.pth");
  if (!path) return;
  const EfficientNetLite network(read_pth(*path).tensors);
  CHECK(network.map_channels() == 120);
  const auto expected = read_safetensors(golden("efficientnet_lite2.safetensors")).tensors;
  for (const std::string size : {"even", "odd"}) {
    CAPTURE(size);
    const auto& images = expected.at("in." + size);
    CHECK(relative_difference(network.map(images), expected.at("out.map_" + size)) < 1e-5);
    CHECK(relative_difference(network.logits(images), expected.at("out.logits_" + size)) < 1e-5);
  }
}

TEST_CASE("efficientnet-lite: folded and in parts it gives what the layers one by one give, at any size") {
  const auto file = small_efficientnet();
  const EfficientNetLite network(file);
  CHECK(network.map_channels() == 12);
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{32, 48}, {33, 50}, {47, 31}, {16, 1}, {300, 500}}) {
    CAPTURE(height);
    const auto images = torch::rand({height == 300 ? 3 : 2, 3, height, width});
    const auto [map, logits] = Stated{file}.run(images);
    const auto found = network.map(images);
    CHECK(found.size(2) == (height + 15) / 16);
    CHECK(found.size(3) == (width + 15) / 16);
    CHECK(relative_difference(found, map) < 1e-4);
    CHECK(relative_difference(network.logits(images), logits) < 1e-4);
    CHECK_FALSE(found.requires_grad());
    if (width > 1) CHECK(relative_difference(network.logits(images + 0.004), logits) > 1e-3);  // it sees one grey level
  }
}

TEST_CASE(
    "efficientnet-lite: the number of threads and autocast change nothing where there are parts for all threads") {
  const EfficientNetLite network(small_efficientnet());
  const auto images = torch::rand({9, 3, 200, 200});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto alone = network.logits(images);
  at::set_num_threads(2);
  CHECK(torch::equal(network.logits(images), alone));
  {
    const CpuAutocast autocast(torch::kBFloat16);
    CHECK(torch::equal(network.logits(images), alone));
  }
  at::set_num_threads(threads);
}

TEST_CASE("efficientnet-lite: a prefix changes nothing") {
  const auto file = small_efficientnet();
  const auto images = torch::rand({1, 3, 32, 32});
  CHECK(torch::equal(EfficientNetLite(with_prefix(file, "module.")).logits(images),
                     EfficientNetLite(file).logits(images)));
}

TEST_CASE("efficientnet-lite: a file that is not its network's is refused by the first tensor that is not") {
  const auto refuse = [](const NamedTensors& file, const char* part) {
    CHECK_THROWS_WITH_AS(EfficientNetLite{file}, doctest::Contains(part), Error);
  };
  const auto file = small_efficientnet();
  refuse({}, "expected a tensor '_conv_stem.weight'");
  for (const auto& [name, tensor] : file) {
    if (name.ends_with("num_batches_tracked")) continue;
    CAPTURE(name);
    auto changed = file;
    changed.erase(name);
    CHECK_THROWS_AS(EfficientNetLite{changed}, Error);
    changed[name] = torch::cat({tensor, tensor});
    CHECK_THROWS_AS(EfficientNetLite{changed}, Error);
    changed[name] = tensor.unsqueeze(0);
    CHECK_THROWS_AS(EfficientNetLite{changed}, Error);
  }
  auto changed = file;
  changed["_blocks.0._se_reduce.weight"] = torch::ones({1, 1, 1, 1});
  refuse(changed, "got 1 others, the first '_blocks.0._se_reduce.weight'");
  changed = file;
  changed["_blocks.3._depthwise_conv.weight"] = torch::ones({12, 1, 3, 3});
  refuse(changed, "expected '_blocks.3._depthwise_conv.weight' as [12, 1, 5, 5], got [12, 1, 3, 3]");
}

TEST_CASE("efficientnet-lite: what is no batch of images of float32 is refused") {
  const EfficientNetLite network(small_efficientnet());
  CHECK_THROWS_WITH_AS(network.map(torch::zeros({1, 3, 32, 32}, torch::kUInt8)),
                       doctest::Contains("scale bytes by 1/255"), Error);
  CHECK_THROWS_AS(network.logits(torch::zeros({3, 32, 32})), Error);
  CHECK_THROWS_AS(network.logits(torch::zeros({1, 1, 32, 32})), Error);
  CHECK_THROWS_AS(network.logits(torch::zeros({0, 3, 32, 32})), Error);
}

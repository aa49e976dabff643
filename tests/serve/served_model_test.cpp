#include "serve/served_model.h"

#include <doctest/doctest.h>

#include "data/png.h"
#include "data/resize.h"
#include "tests/cli/small_classifier.h"
#include "tests/serve/small_server.h"

namespace beit {
namespace {

/// What the server's endpoint gives for a PNG file of these pixels.
ImageTensors asked(const Endpoint& endpoint, const torch::Tensor& pixels_HWC) {
  const torch::NoGradGuard no_grad;
  PngImage file(pixels_HWC);
  return endpoint.compute({endpoint.prepare(file.image)}).at(0);
}

TEST_CASE("served model: a tokenizer's codes are those of the module, and JSON has them as rows of the grid") {
  const TemporaryFolder folder;
  auto tokenizer = write_small_tokenizer(folder.path / "model.safetensors");
  const auto model = served(load_tokenizer(folder.path / "model.safetensors"));
  CHECK(model.facts["network"] == "tokenizer");
  CHECK(model.facts["codes"] == kSmallCodes);
  const auto pixels_HWC = picture(40, 70);
  const auto tensors = asked(model.endpoints.at(0), pixels_HWC);
  const torch::NoGradGuard no_grad;
  const auto view_1CHW = to_float(evaluation_pixels(pixels_HWC, {32, 32})).unsqueeze(0);
  CHECK(torch::equal(tensors.at("codes"), tokenizer->codes(view_1CHW)[0].to(torch::kInt32)));

  const auto json = model.endpoints[0].describe({40, 70}, tensors);
  REQUIRE(json["codes"].size() == 4);
  CHECK(json["codes"][2][1] == tensors.at("codes")[9].item<int32_t>());
  // 40 x 70 is scaled to 36 x 63, of which the middle 32 x 32 are seen.
  CHECK(json["seen"]["height"].get<double>() == doctest::Approx(32 * 40.0 / 36));
  CHECK(json["seen"]["left"].get<double>() == doctest::Approx(16 * 70.0 / 63));
}

TEST_CASE("served model: a classifier's probabilities, the most likely first") {
  const TemporaryFolder folder;
  auto classifier = write_small_classifier(folder.path / "model.safetensors", 3, {"gnu", "ant", "fox"});
  const auto model = served(load_classifier(folder.path / "model.safetensors"), /*top=*/2);
  const auto pixels_HWC = picture(36, 36);
  const auto tensors = asked(model.endpoints.at(0), pixels_HWC);
  const torch::NoGradGuard no_grad;
  const auto view_1CHW = to_float(evaluation_pixels(pixels_HWC, {32, 32}), kImagenetScale).unsqueeze(0);
  CHECK(torch::allclose(tensors.at("probabilities"), classifier->forward(view_1CHW).softmax(1)[0]));
  const auto classes = model.endpoints[0].describe({36, 36}, tensors)["classes"];
  REQUIRE(classes.size() == 2);
  CHECK(classes[0]["probability"].get<double>() >= classes[1]["probability"].get<double>());
  CHECK(classes[0]["output"] == tensors.at("probabilities").argmax().item<int64_t>());
}

TEST_CASE("served model: a segmenter's labels have the image's size, in every form") {
  torch::manual_seed(5);
  ModelOptions options = kSmallModel;
  options.patch_size = 16;
  options.image_size = 64;
  resolve(options);
  const ViTOptions vit{.grid = grid_of(options), .patch_size = 16, .width = 16, .depth = 4, .heads = 2};
  LoadedSegmenter loaded{
      Segmenter(segmenter_options(vit, {.channels = 8, .auxiliary_channels = 4}, 3)), options, {}, 3};
  loaded.model->eval();
  const auto model = served(loaded, {.long_side = 64, .short_side = 64, .stride = 32});
  const Endpoint& endpoint = model.endpoints.at(0);
  const auto tensors = asked(endpoint, picture(20, 30));
  CHECK(tensors.at("labels").sizes() == torch::IntArrayRef({20, 30}));
  const auto json = endpoint.describe({20, 30}, tensors);
  CHECK(json["labels_png"].get<std::string>().starts_with("iVBORw0KGgo"));  // a PNG file in base64
  int64_t pixels = 0;
  for (const auto& one : json["classes"]) pixels += one["pixels"].get<int64_t>();
  CHECK(pixels == 600);
  CHECK(torch::equal(decode_png_indices(endpoint.png(tensors), "labels.png"), tensors.at("labels")));
}

TEST_CASE("served model: features under their names, one vector or one for each token") {
  const auto endpoint =
      features_endpoint(kSmallModel, torch::kCPU, {"mean", "tokens"}, [](const torch::Tensor& images_BCHW) {
        return std::vector<torch::Tensor>{images_BCHW.mean({2, 3}), images_BCHW.flatten(2).transpose(1, 2)};
      });
  const auto tensors = asked(endpoint, picture(32, 32));
  CHECK(tensors.at("mean").sizes() == torch::IntArrayRef({3}));
  CHECK(tensors.at("tokens").sizes() == torch::IntArrayRef({1024, 3}));
  const auto json = endpoint.describe({32, 32}, tensors);
  CHECK(json["features"]["mean"].size() == 3);
  CHECK(json["features"]["tokens"].size() == 1024);
}

}  // namespace
}  // namespace beit

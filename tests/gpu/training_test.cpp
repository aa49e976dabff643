// Training on a GPU beside the same on the CPU. Shape letters: B images, N patches.
#include <doctest/doctest.h>

#include "tests/core/small_networks.h"
#include "tests/gpu/gpu.h"
#include "train/pretrain.h"
#include "train/step.h"

namespace beit {
namespace {

/// The losses and norms of some steps of pre-training on the same images.
std::vector<double> figures_of(const torch::Device& device, const std::string& precision) {
  torch::manual_seed(41);
  MimOptions options = small_mim();
  options.vit.drop_path = 0;  // its draws are the device's own
  options.codes = small_tokenizer().quantizer.codes;
  MaskedImageModel model(options);
  TokenizerOptions tokenizer_options = small_tokenizer();
  tokenizer_options.quantizer.kmeans_start = false;
  Tokenizer tokenizer(tokenizer_options);
  tokenizer->eval();
  const StepData data(6, torch::kFloat32);
  model->to(device);
  tokenizer->to(device);
  Distributed alone;
  PretrainTask task(model, tokenizer, /*validation=*/nullptr, device, alone);
  AdamW optimizer(*model, {});
  TrainingStep stepping(task, optimizer, {.batch_size = 6, .clip_grad = 1.0, .precision = precision}, alone);
  const Batch batch{.views = {data.images_BCHW, data.images_BCHW, data.mask_BN},
                    .indices_B = torch::arange(6),
                    .labels_B = torch::arange(6)};
  std::vector<double> found;
  for (int64_t step = 0; step < 8; ++step) {
    const auto figures = stepping.take(
        batch, step, /*lr=*/1e-3, [] {}, [] { return std::string(); });
    found.insert(found.end(), {figures.loss, figures.grad_norm});
  }
  return found;
}

TEST_CASE("gpu: steps of pre-training take the course that they take on the CPU, in bf16 nearly so") {
  const auto device = gpu();
  if (!device) return;
  const auto expected = figures_of(torch::kCPU, "float32");
  for (const auto& [precision, tolerance] : {std::pair("float32", 1e-3), {"bf16", 0.05}}) {
    CAPTURE(precision);
    const auto found = figures_of(*device, precision);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(tolerance));
  }
}

}  // namespace
}  // namespace beit

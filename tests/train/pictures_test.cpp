// What tasks show of themselves, and that showing it changes nothing.
#include <doctest/doctest.h>

#include "data/dataset.h"
#include "tests/support.h"
#include "tests/train/small_models.h"
#include "train/pretrain.h"
#include "train/vqkd.h"

namespace beit {
namespace {

const torch::Device kCpu(torch::kCPU);

void check_unchanged(const TensorMap& before, const TensorMap& after) {
  REQUIRE(before.size() == after.size());
  for (const auto& [name, value] : before) {
    CAPTURE(name);
    CHECK(torch::equal(value, after.at(name)));
  }
}

TensorMap copy_of(const TensorMap& tensors) {
  TensorMap copy;
  for (const auto& [name, value] : tensors) copy.emplace(name, value.clone());
  return copy;
}

TEST_CASE("pictures: vqkd shows the teacher's and its own features of eight images, and counts and draws nothing") {
  const std::vector<std::filesystem::path> sources{source_folder() / "demo/data/cifar10-small-test.tar"};
  const Dataset images = Dataset::open(sources);
  ModelOptions model = kSmallModel;
  resolve(model);
  Targets targets({.teacher = "pixels"}, model, images, {.workers = 1}, kCpu);
  CodebookOptions codebook{.codes = kSmallCodes, .code_dim = 4, .decoder_depth = 1};
  torch::manual_seed(3);
  Tokenizer tokenizer(tokenizer_options(model, codebook, targets.width()));
  Distributed alone;
  VqkdTask task(tokenizer, targets, nullptr, kCpu, alone);
  const Batch batch{{torch::rand({10, 3, 32, 32}), torch::zeros({10}, torch::kBool)},
                    torch::arange(10),
                    torch::full({10}, -1, torch::kInt64)};
  tokenizer->train();
  task.begin_epoch();
  task.loss(batch, {});
  task.step_taken();
  const auto counts_K = tokenizer->quantizer()->counts().clone();
  CHECK(counts_K.sum().item<int64_t>() == 10 * 16);

  const TensorMap weights = copy_of(state_dict(*tokenizer)), progress = copy_of(task.progress());
  const auto random = at::detail::getDefaultCPUGenerator().get_state();
  const auto pictures = task.pictures(batch);
  REQUIRE(pictures.size() == 1);
  CHECK(pictures[0].tag == "reconstruction");
  CHECK(pictures[0].pixels_HWC.sizes() == torch::IntArrayRef({4 * 32 + 3 * 4, 2 * (3 * 32 + 2 * 4) + 20, 3}));
  CHECK(torch::equal(random, at::detail::getDefaultCPUGenerator().get_state()));
  check_unchanged(weights, state_dict(*tokenizer));
  check_unchanged(progress, task.progress());
  CHECK(torch::equal(counts_K, tokenizer->quantizer()->counts()));
  CHECK(tokenizer->is_training());
  CHECK(tokenizer->quantizer()->is_training());
  tokenizer->eval();
  CHECK(tokenizer->quantizer()->counts().sum().item<int64_t>() == 0);
}

TEST_CASE("pictures: pretrain shows its images, their masks and which codes it foretold, and changes nothing") {
  const TemporaryFolder folder;
  Tokenizer tokenizer = write_small_tokenizer(folder.path / "tokenizer.safetensors");
  MaskedImageModel model = write_small_pretrained(folder.path / "model.safetensors");
  Distributed alone;
  PretrainTask task(model, tokenizer, nullptr, kCpu, alone);
  auto mask_BN = torch::zeros({2, 16}, torch::kBool);
  mask_BN.slice(1, 0, 4).fill_(true);  // the upper row of 4
  const auto images_BCHW = torch::full({2, 3, 32, 32}, 0.8);
  const Batch batch{{normalise(images_BCHW, InputForm::kImagenetNorm), images_BCHW, mask_BN},
                    torch::arange(2),
                    torch::full({2}, -1, torch::kInt64)};
  model->train();
  const TensorMap weights = copy_of(state_dict(*model));
  const auto random = at::detail::getDefaultCPUGenerator().get_state();
  const auto pictures = task.pictures(batch);
  REQUIRE(pictures.size() == 1);
  CHECK(pictures[0].tag == "masks");
  const auto& pixels_HWC = pictures[0].pixels_HWC;
  REQUIRE(pixels_HWC.sizes() == torch::IntArrayRef({32, 2 * (3 * 32 + 2 * 4) + 20, 3}));
  CHECK(pixels_HWC.slice(1, 0, 32).eq(204).all().item<bool>());                   // 0.8, standardised and back
  CHECK(pixels_HWC.slice(0, 0, 8).slice(1, 36, 68).eq(128).all().item<bool>());   // masked
  CHECK(pixels_HWC.slice(0, 8, 32).slice(1, 36, 68).eq(204).all().item<bool>());  // not masked
  CHECK(torch::equal(random, at::detail::getDefaultCPUGenerator().get_state()));
  check_unchanged(weights, state_dict(*model));
  CHECK(model->is_training());
  CHECK_FALSE(tokenizer->is_training());

  // Which patches are green follows from the logits.
  model->eval();
  const torch::NoGradGuard no_grad;
  const auto right_M = model->forward(batch.views[0], mask_BN)
                           .main_MV.argmax(1)
                           .eq(tokenizer->codes(images_BCHW).masked_select(mask_BN));
  for (int64_t i = 0; i < 8; ++i) {
    const auto patch_C = pixels_HWC[4][i / 4 * (3 * 32 + 2 * 4 + 20) + 72 + i % 4 * 8 + 4];
    CHECK((patch_C[1] > patch_C[0]).item<bool>() == right_M[i].item<bool>());
  }
}

}  // namespace
}  // namespace beit

// Training of a pixel decoder as a task: what it measures, and what it leaves as it is.
#include "train/decode.h"

#include <doctest/doctest.h>

#include "data/dataset.h"
#include "tests/support.h"
#include "tests/train/small_models.h"
#include "train/evaluation.h"
#include "train/step.h"

namespace beit {
namespace {

const torch::Device kCpu(torch::kCPU);

TensorMap copy_of(const TensorMap& tensors) {
  TensorMap copy;
  for (const auto& [name, value] : tensors) copy.emplace(name, value.clone());
  return copy;
}

void check_unchanged(const TensorMap& before, const TensorMap& after) {
  REQUIRE(before.size() == after.size());
  for (const auto& [name, value] : before) {
    CAPTURE(name);
    CHECK(torch::equal(value, after.at(name)));
  }
}

struct Small {
  TemporaryFolder folder;
  Tokenizer tokenizer = write_small_tokenizer(folder.path / "tokenizer.safetensors");
  PixelDecoder decoder = write_small_decoder(folder.path / "decoder.safetensors", tokenizer);
  Distributed alone;
  DecodeTask task{decoder, tokenizer, nullptr, kCpu, alone};
  Batch batch = random_batch();

  static Batch random_batch() {
    torch::manual_seed(12);
    return {{torch::rand({12, 3, 32, 32}), torch::zeros({12}, torch::kBool)},
            torch::arange(12),
            torch::full({12}, -1, torch::kInt64)};
  }
};

TEST_CASE("decode: steps bring the loss down, and move neither tokenizer nor codebook") {
  Small small;
  const TensorMap tokenizer = copy_of(state_dict(*small.tokenizer));
  const auto codebook_KC = small.decoder->codebook().clone();
  AdamW optimizer(small.task.model(), {.weight_decay = 0.05});
  TrainingStep stepping(small.task, optimizer, TrainOptions{}, small.alone);
  double first = 0, last = 0;
  for (int64_t step = 0; step < 40; ++step) {
    const StepFigures figures = stepping.take(
        small.batch, step, 3e-3, [] {}, [] { return std::string(); });
    REQUIRE(figures.parts.size() == 2);
    CHECK(figures.parts[0].first == "absolute_difference");
    CHECK(figures.parts[1].first == "psnr");
    (step == 0 ? first : last) = figures.loss;
  }
  CHECK(last < first);
  check_unchanged(tokenizer, state_dict(*small.tokenizer));
  CHECK(torch::equal(small.decoder->codebook(), codebook_KC));
  CHECK(torch::equal(codebook_KC, tokenizer.at("quantize.embedding.weight")));
}

TEST_CASE("decode: the gradients of a step cut into parts are those of the whole batch") {
  const auto gradients = [](int64_t parts) {
    Small small;
    small.decoder->to(torch::kFloat64);
    AdamW optimizer(small.task.model(), {});
    TrainingStep stepping(small.task, optimizer, TrainOptions{.accumulate = parts}, small.alone);
    stepping.take(
        small.batch, 0, 1e-3, [] {}, [] { return std::string(); });
    TensorMap found;
    for (const auto& item : small.decoder->named_parameters()) found.emplace(item.key(), item.value().grad().clone());
    return found;
  };
  const TensorMap whole = gradients(1), cut = gradients(4);
  for (const auto& [name, value] : whole) {
    CAPTURE(name);
    CHECK((cut.at(name) - value).abs().max().item<double>() <= 1e-8 * value.abs().max().item<double>());
  }
}

TEST_CASE("decode: pictures show eight images beside what their codes become, and change nothing") {
  Small small;
  small.decoder->train();
  const TensorMap weights = copy_of(state_dict(*small.decoder));
  const auto random = at::detail::getDefaultCPUGenerator().get_state();
  const auto pictures = small.task.pictures(small.batch);
  REQUIRE(pictures.size() == 1);
  CHECK(pictures[0].tag == "decoded");
  CHECK(pictures[0].pixels_HWC.sizes() == torch::IntArrayRef({4 * 32 + 3 * 4, 2 * (2 * 32 + 4) + 20, 3}));
  CHECK(torch::equal(random, at::detail::getDefaultCPUGenerator().get_state()));
  check_unchanged(weights, state_dict(*small.decoder));
  CHECK(small.decoder->is_training());
  CHECK_FALSE(small.tokenizer->is_training());
}

TEST_CASE("decode: validation gives means over all images, whatever the batches") {
  Small small;
  const std::vector<std::filesystem::path> sources{source_folder() / "demo/data/cifar10-small-test.tar"};
  const Dataset images = Dataset::open(sources);
  ModelOptions model = kSmallModel;
  resolve(model);
  const auto validated = [&](int64_t batch_size) {
    Loader loader(images, evaluation_transform(model), evaluation_loading({.workers = 2}, batch_size));
    DecodeTask task(small.decoder, small.tokenizer, &loader, kCpu, small.alone);
    return task.validate();
  };
  const auto by_many = validated(300), by_few = validated(700);
  for (const char* key : {"val_loss", "val_absolute_difference", "val_psnr", "val_ssim"}) {
    CAPTURE(key);
    CHECK(by_many.at(key).get<double>() == doctest::Approx(by_few.at(key).get<double>()).epsilon(1e-6));
  }
  CHECK(by_many.at("val_loss").get<double>() > 0);
  CHECK(by_many.at("val_psnr").get<double>() > 0);
  CHECK(small.decoder->is_training());
  CHECK(small.task.validate().empty());
}

}  // namespace
}  // namespace beit

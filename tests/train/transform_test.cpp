#include <doctest/doctest.h>

#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"
#include "train/evaluation.h"
#include "train/pretrain.h"
#include "train/vqkd.h"

using namespace beit;

namespace {

const ModelOptions kModel{.image_size = 8, .patch_size = 4};

std::vector<uint8_t> photograph() {
  return bytes_of(read_safetensors(golden("decode.safetensors")).tensors.at("in.jpeg_420"));
}

torch::Tensor view_of(const Transform& transform, const std::vector<uint8_t>& bytes) {
  EncodedImage image(bytes, "a.jpg");
  return transform(image, {.epoch = 1, .index = 2, .output = {}})[0];
}

}  // namespace

TEST_CASE("transforms: --decode says how a random crop is decoded") {
  const auto bytes = photograph();
  const MimChoice choice{.tokenizer_image_size = 8, .masked_patches = 2, .min_mask_block = 1};
  DataOptions fast{.color_jitter = 0.4}, exact = fast;
  exact.decode = "exact";
  CHECK(!torch::equal(view_of(pretrain_transform(kModel, choice, fast, 3), bytes),
                      view_of(pretrain_transform(kModel, choice, exact, 3), bytes)));
  const auto quarter = ModelOptions{.image_size = 4, .patch_size = 4};  // at which fast decoding scales
  fast.min_crop = exact.min_crop = 0.9;
  CHECK(!torch::equal(view_of(vqkd_transform(quarter, fast, 3), bytes),
                      view_of(vqkd_transform(quarter, exact, 3), bytes)));
}

TEST_CASE("transforms: without random crop both ways of decoding give the same views") {
  const auto bytes = photograph();
  const MimChoice choice{.tokenizer_image_size = 8, .masked_patches = 2, .min_mask_block = 1};
  DataOptions fast{.min_crop = 1, .color_jitter = 0.4}, exact = fast;
  exact.decode = "exact";
  CHECK(torch::equal(view_of(pretrain_transform(kModel, choice, fast, 3), bytes),
                     view_of(pretrain_transform(kModel, choice, exact, 3), bytes)));
  CHECK(
      torch::equal(view_of(vqkd_transform(kModel, fast, 3), bytes), view_of(vqkd_transform(kModel, exact, 3), bytes)));
}

// Both networks that are trained from nothing, with stochastic depth, in a size that a test bears, and one step of
// each. Shape letters: B images, N patches.
#pragma once

#include <doctest/doctest.h>
#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "core/mim.h"
#include "core/tokenizer.h"
#include "tests/core/autocast.h"
#include "tests/core/golden.h"

namespace beit {

inline MimOptions small_mim() {
  return {.vit = {.grid = {4, 4},
                  .patch_size = 4,
                  .width = 32,
                  .depth = 4,
                  .heads = 4,
                  .drop_path = 0.2,
                  .layer_scale = 0.1,
                  .absolute_position = false,
                  .relative_position = RelPos::kShared},
          .codes = 64,
          .early_layers = 2,
          .head_layers = 2};
}

inline TokenizerOptions small_tokenizer() {
  return {.encoder = {.grid = {4, 4}, .patch_size = 4, .width = 32, .depth = 3, .heads = 4, .drop_path = 0.2},
          .decoder_width = 32,
          .decoder_depth = 2,
          .decoder_heads = 4,
          .quantizer = {.codes = 16, .width = 8},
          .target_width = 24};
}

/// What a step of either network sees: images, a mask of equally many patches each, codes, a teacher's features.
struct StepData {
  torch::Tensor images_BCHW, mask_BN, codes_BN, target_BNF;

  StepData(int64_t images, torch::ScalarType dtype, uint64_t seed = 90) {
    torch::manual_seed(seed);
    images_BCHW = torch::rand({images, 3, 16, 16}).to(dtype);
    mask_BN = torch::rand({images, 16}).argsort(1, /*descending=*/false).lt(6);
    codes_BN = torch::randint(64, {images, 16}, torch::kInt64);
    target_BNF = torch::randn({images, 16, 24}).to(dtype);
  }
};

constexpr uint64_t kStepSeed = 91;

/// The loss of a part of a step, or of all of it, weighted by the part's share, as a training loop takes it: with the
/// generator seeded anew.
inline torch::Tensor step_loss(MaskedImageModel& mim, const StepData& data, const StepPart& part = {}) {
  const auto of_part = [&](const torch::Tensor& all) {
    return part.samples == 0 ? all : all.index_select(0, part.samples_B);
  };
  torch::manual_seed(kStepSeed);
  const auto mask_BN = of_part(data.mask_BN);
  const auto targets_M = of_part(data.codes_BN).masked_select(mask_BN);
  const auto loss = mim->loss(of_part(data.images_BCHW), mask_BN, targets_M, part).total;
  return loss * (static_cast<double>(mask_BN.size(0)) / static_cast<double>(data.images_BCHW.size(0)));
}
inline torch::Tensor step_loss(Tokenizer& tokenizer, const StepData& data, const StepPart& part = {}) {
  const auto of_part = [&](const torch::Tensor& all) {
    return part.samples == 0 ? all : all.index_select(0, part.samples_B);
  };
  torch::manual_seed(kStepSeed);
  const auto images_BCHW = of_part(data.images_BCHW);
  const auto loss = tokenizer->forward(images_BCHW, of_part(data.target_BNF), part).total;
  return loss * (static_cast<double>(images_BCHW.size(0)) / static_cast<double>(data.images_BCHW.size(0)));
}

/// By name; those that are undefined are left out.
inline TensorMap gradients(const torch::nn::Module& module) {
  TensorMap found;
  for (const auto& parameter : module.named_parameters()) {
    if (parameter.value().grad().defined()) found.emplace(parameter.key(), parameter.value().grad());
  }
  return found;
}

/// A step's samples 0 to `samples` - 1 dealt out over parts as cards are, so that a part's samples do not stand
/// together.
inline std::vector<StepPart> deal(int64_t samples, int64_t parts) {
  std::vector<StepPart> dealt;
  for (int64_t i = 0; i < parts; ++i) {
    dealt.push_back({.samples = samples, .samples_B = torch::arange(i, samples, parts, torch::kInt64)});
  }
  return dealt;
}

}  // namespace beit

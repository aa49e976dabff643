// Weights of other libraries and of the published form, against what PyTorch computes with them. Each folder in
// BEIT_PARITY that holds expected.safetensors is a case, made by tests/python/exchange.py.
#include <vector>

#include "tests/core/golden.h"
#include "tests/support.h"
#include "train/models.h"
#include "train/targets.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;

std::vector<fs::path> entries(const fs::path& folder) { return {fs::directory_iterator(folder), {}}; }

double classifier_difference(const fs::path& weights, const TensorMap& expected) {
  return relative_difference(load_classifier(weights).model->forward(expected.at("in.images")),
                             expected.at("out.logits"));
}

/// The CLS branch's too, where one is expected.
double mim_difference(const fs::path& weights, const TensorMap& expected) {
  const auto mask_BN = expected.at("in.mask");
  auto model = load_mim(weights).model;
  const auto logits = model->forward(expected.at("in.images"), mask_BN);
  const auto loss = model->loss(expected.at("in.images"), mask_BN, expected.at("in.codes").index({mask_BN}));
  double worst = std::max(relative_difference(logits.main_MV, expected.at("out.logits_main")),
                          difference(loss.main, expected.at("out.loss_main")));
  REQUIRE(logits.cls_pt_MV.defined() == expected.contains("out.logits_cls_pt"));
  if (logits.cls_pt_MV.defined()) {
    worst = std::max({worst, relative_difference(logits.cls_pt_MV, expected.at("out.logits_cls_pt")),
                      difference(loss.cls_pt, expected.at("out.loss_cls_pt"))});
  }
  return worst;
}

/// The features of a CLIP teacher on a grid of its own patches.
double teacher_difference(const fs::path& weights, const TensorMap& expected) {
  const auto& images_BCHW = expected.at("in.images");
  ModelOptions model{.image_size = images_BCHW.size(2), .patch_size = 4};
  resolve(model);
  const auto teacher = load_teacher({.teacher = "clip", .teacher_weights = weights.string()}, model);
  return relative_difference(teacher->target(images_BCHW), expected.at("out.features"));
}

double found_difference(const fs::path& weights, const TensorMap& expected) {
  if (expected.contains("out.features")) return teacher_difference(weights, expected);
  return expected.contains("in.mask") ? mim_difference(weights, expected) : classifier_difference(weights, expected);
}

TEST_CASE("exchange: what is read from other libraries' and published files computes what it does there") {
  const auto folder = oracle_file("");
  if (!folder) return;
  const torch::NoGradGuard no_grad;
  size_t compared = 0;
  for (const auto& item : entries(*folder)) {
    if (!fs::exists(item / "expected.safetensors")) continue;
    const auto expected = read_safetensors(item / "expected.safetensors").tensors;
    for (const auto& weights : entries(item / "weights")) {
      CAPTURE(weights);
      const double found = found_difference(weights, expected);
      CHECK(found < kTolerance);
      fmt::print("exchange: {}/{}: {:.1e}\n", item.filename().string(), weights.filename().string(), found);
      ++compared;
    }
  }
  CHECK(compared > 0);
}

}  // namespace
}  // namespace beit

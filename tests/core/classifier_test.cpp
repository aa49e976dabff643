// Shape letters: B images, D width.
#include "core/classifier.h"

#include "core/weights_regrid.h"
#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

// As golden/classifier states it.
const ClassifierOptions kGolden{.vit = {.grid = {8, 8},
                                        .patch_size = 4,
                                        .width = 32,
                                        .depth = 3,
                                        .heads = 4,
                                        .layer_scale = 0.1,
                                        .absolute_position = false,
                                        .relative_position = RelPos::kBlock},
                                .classes = 10};

TEST_CASE("classifier: logits, smoothed loss and every gradient equal the oracle") {
  const auto file = read_safetensors(golden("classifier.safetensors")).tensors;
  Classifier classifier(kGolden);
  load_state_dict_strict(*classifier, tensors_under(file, "w."), "golden/classifier");
  const auto logits = classifier->forward(file.at("in.images"));
  const auto loss = torch::cross_entropy_loss(logits, file.at("in.labels"), {}, at::Reduction::Mean, -100, 0.1);
  loss.backward();
  CHECK(difference(logits, file.at("out.logits")) < 1e-5);
  CHECK(difference(loss, file.at("out.loss")) < 1e-5);
  check_gradients(*classifier, tensors_under(file, "grad."), 1e-4);
}

TEST_CASE("classifier: at another size logits are those of one of that size with its weights resized") {
  torch::manual_seed(62);
  Classifier classifier(kGolden);
  auto tensors = state_dict(*classifier);
  for (auto& [name, tensor] : tensors) {
    if (name.ends_with("table") || name == "head.weight") tensor.normal_();
  }
  ClassifierOptions options = kGolden;
  options.vit.grid = {12, 5};
  Classifier other(options);
  resize_to_grid(tensors, {8, 8}, {12, 5});
  load_state_dict_strict(*other, tensors, "resized");
  const auto images_BCHW = torch::randn({2, 3, 48, 20});
  CHECK(difference(classifier->forward(images_BCHW), other->forward(images_BCHW)) < 1e-5);
}

TEST_CASE("classifier: the CLS form reads the CLS token after `norm`") {
  torch::manual_seed(61);
  ClassifierOptions options = kGolden;
  options.pooling = Pooling::kCls;
  options.head_scale = 1;
  Classifier classifier(options);
  const auto tensors = state_dict(*classifier);
  CHECK(tensors.contains("norm.weight"));
  CHECK(!tensors.contains("fc_norm.weight"));
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  const auto cls_BD = torch::layer_norm(classifier->tokens(images_BCHW), {32}, {}, {}, 1e-6).select(1, 0);
  const auto expected = cls_BD.mm(tensors.at("head.weight").t()) + tensors.at("head.bias");
  CHECK(difference(classifier->forward(images_BCHW), expected) < 1e-5);
}

}  // namespace
}  // namespace beit

// Shape letters: B images, N patches, D width, M masked patches, V codes.
#include "core/mim.h"

#include "base/error.h"
#include "core/weights_regrid.h"
#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

MimOptions golden_options(bool shared) {
  return {.vit = {.grid = {8, 8},
                  .patch_size = 4,
                  .width = 32,
                  .depth = 4,
                  .heads = 4,
                  .layer_scale = 0.1,
                  .absolute_position = !shared,
                  .relative_position = shared ? RelPos::kShared : RelPos::kBlock},
          .codes = 64,
          .early_layers = 2,
          .head_layers = 2,
          .shared_head = shared};
}

TEST_CASE("mim: losses, logits and every gradient equal the oracle, with a shared head and with its own") {
  for (const bool shared : {true, false}) {
    CAPTURE(shared);
    const auto name = shared ? "mim_shared_head.safetensors" : "mim_own_head.safetensors";
    const auto file = read_safetensors(golden(name)).tensors;
    MaskedImageModel mim(golden_options(shared));
    load_state_dict_strict(*mim, tensors_under(file, "w."), name);
    const auto mask_BN = file.at("in.mask");
    const auto logits = mim->forward(file.at("in.images"), mask_BN);
    const auto loss = mim->loss(file.at("in.images"), mask_BN, file.at("in.codes").index({mask_BN}));
    loss.total.backward();
    CHECK(difference(logits.main_MV, file.at("out.logits_main")) < 1e-5);
    CHECK(difference(logits.cls_pt_MV, file.at("out.logits_cls_pt")) < 1e-5);
    CHECK(difference(loss.main, file.at("out.loss_main")) < 1e-5);
    CHECK(difference(loss.cls_pt, file.at("out.loss_cls_pt")) < 1e-5);
    CHECK(difference(loss.total, file.at("out.loss_main") + file.at("out.loss_cls_pt")) < 1e-5);
    check_gradients(*mim, tensors_under(file, "grad."), 1e-4);
  }
}

TEST_CASE("mim: an early layer that is the last, and images with unequal numbers of masked patches") {
  torch::manual_seed(62);
  for (const int64_t early : {2, 4}) {
    MimOptions options = golden_options(true);
    options.early_layers = early;
    MaskedImageModel mim(options);
    const auto images_BCHW = torch::rand({3, 3, 32, 32});
    auto mask_BN = torch::zeros({3, 64}, torch::kBool);
    mask_BN[0].slice(0, 3, 9).fill_(true);
    mask_BN[2].slice(0, 60, 64).fill_(true);
    const auto logits = mim->forward(images_BCHW, mask_BN);
    REQUIRE(logits.main_MV.size(0) == 10);
    // One by one, the images are as they are together.
    const auto first = mim->forward(images_BCHW.slice(0, 0, 1), mask_BN.slice(0, 0, 1));
    const auto third = mim->forward(images_BCHW.slice(0, 2, 3), mask_BN.slice(0, 2, 3));
    CHECK(difference(logits.main_MV, torch::cat({first.main_MV, third.main_MV})) < 1e-5);
    CHECK(difference(logits.cls_pt_MV, torch::cat({first.cls_pt_MV, third.cls_pt_MV})) < 1e-5);
  }
}

TEST_CASE("mim: without the CLS branch the main loss is the same and nothing of the branch is left") {
  const auto file = read_safetensors(golden("mim_shared_head.safetensors")).tensors;
  MimOptions options = golden_options(true);
  options.cls_branch = false;
  MaskedImageModel mim(options);
  const auto report = load_state_dict(*mim, tensors_under(file, "w."));
  CHECK(report.missing.empty());
  for (const std::string& name : report.unexpected) CHECK(name.starts_with("cls_pt_layers."));
  const auto mask_BN = file.at("in.mask");
  const auto logits = mim->forward(file.at("in.images"), mask_BN);
  const auto loss = mim->loss(file.at("in.images"), mask_BN, file.at("in.codes").index({mask_BN}));
  CHECK(!logits.cls_pt_MV.defined());
  CHECK(!loss.cls_pt.defined());
  CHECK(!loss.accuracy_cls_pt.defined());
  CHECK(torch::equal(loss.total, loss.main));
  CHECK(difference(loss.main, file.at("out.loss_main")) < 1e-5);
}

TEST_CASE("mim: what stands under the mask has no influence") {
  torch::manual_seed(51);
  MaskedImageModel mim(golden_options(true));
  const torch::NoGradGuard no_grad;
  const auto mask_BN = torch::rand({2, 64}).lt(0.4);
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  const auto hidden_BCHW = mask_BN.view({2, 1, 8, 1, 8, 1}).expand({2, 3, 8, 4, 8, 4}).reshape({2, 3, 32, 32});
  const auto other_BCHW = torch::where(hidden_BCHW, torch::randn_like(images_BCHW), images_BCHW);
  const auto one = mim->forward(images_BCHW, mask_BN), other = mim->forward(other_BCHW, mask_BN);
  CHECK(torch::equal(one.main_MV, other.main_MV));
  CHECK(torch::equal(one.cls_pt_MV, other.cls_pt_MV));
}

TEST_CASE("mim: at another size logits are those of a model of that size with its weights resized") {
  torch::manual_seed(55);
  for (const bool shared : {true, false}) {
    MaskedImageModel mim(golden_options(shared));
    for (auto& [name, tensor] : state_dict(*mim)) {
      if (name.ends_with("table")) tensor.normal_();
    }
    auto tensors = state_dict(*mim);
    resize_to_grid(tensors, {8, 8}, {6, 10});
    MimOptions options = golden_options(shared);
    options.vit.grid = {6, 10};
    MaskedImageModel other(options);
    load_state_dict_strict(*other, tensors, "resized");
    const auto images_BCHW = torch::randn({2, 3, 24, 40});
    const auto mask_BN = torch::rand({2, 60}).lt(0.4);
    const auto found = mim->forward(images_BCHW, mask_BN), expected = other->forward(images_BCHW, mask_BN);
    CHECK(difference(found.main_MV, expected.main_MV) < 1e-6);
    CHECK(difference(found.cls_pt_MV, expected.cls_pt_MV) < 1e-6);
    CHECK_THROWS_WITH_AS(mim->forward(images_BCHW, torch::zeros({2, 64}, torch::kBool)), doctest::Contains("[2, 60]"),
                         Error);
  }
}

TEST_CASE("mim: the CLS branch sees late patches through the CLS token alone") {
  // Block 4 stands after the early layers: with its branches' gammas 0 the last block passes all through, and the
  // branch that starts after it sees what the whole would.
  torch::manual_seed(52);
  MaskedImageModel mim(golden_options(true));
  const torch::NoGradGuard no_grad;
  auto tensors = state_dict(*mim);
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  const auto mask_BN = torch::rand({2, 64}).lt(0.4);
  for (const std::string block : {"2", "3"}) {
    for (const std::string gamma : {"gamma_1", "gamma_2"}) tensors.at("blocks." + block + "." + gamma).zero_();
  }
  for (const std::string block : {"0", "1"}) {
    for (const std::string gamma : {"gamma_1", "gamma_2"}) tensors.at("cls_pt_layers." + block + "." + gamma).zero_();
  }
  const auto same = mim->forward(images_BCHW, mask_BN);
  CHECK(difference(same.main_MV, same.cls_pt_MV) < 1e-5);
  tensors.at("blocks.3.gamma_2").fill_(1);
  const auto moved = mim->forward(images_BCHW, mask_BN);
  CHECK(difference(moved.main_MV, same.main_MV) > 1e-3);
  CHECK(torch::equal(moved.cls_pt_MV, same.cls_pt_MV));
}

TEST_CASE("mim: images may have different numbers of masked patches, logits stand image by image") {
  torch::manual_seed(53);
  MaskedImageModel mim(golden_options(true));
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  auto mask_BN = torch::zeros({2, 64}, torch::kBool);
  mask_BN[0][5] = true;
  mask_BN[1][0] = true;
  mask_BN[1][63] = true;
  const auto both = mim->forward(images_BCHW, mask_BN);
  const auto second = mim->forward(images_BCHW.slice(0, 1), mask_BN.slice(0, 1));
  CHECK(both.main_MV.sizes() == torch::IntArrayRef({3, 64}));
  CHECK(difference(both.main_MV.slice(0, 1), second.main_MV) < 1e-5);
}

TEST_CASE("mim: the CLS branch goes on with the rates of stochastic depth, and the deepest number decides them") {
  // early 3 of 4 blocks and 3 head layers: 6 rates from 0 to the last, of which the branch takes the last three.
  torch::manual_seed(54);
  MimOptions options = golden_options(true);
  options.early_layers = 3;
  options.head_layers = 3;
  options.vit.drop_path = 0.5;
  MaskedImageModel mim(options);
  CHECK(state_dict(*mim).contains("cls_pt_layers.2.gamma_1"));
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  const auto mask_BN = torch::rand({2, 64}).lt(0.4);
  const torch::NoGradGuard no_grad;
  CHECK(difference(mim->forward(images_BCHW, mask_BN).main_MV, mim->forward(images_BCHW, mask_BN).main_MV) > 1e-6);
  mim->eval();
  CHECK(torch::equal(mim->forward(images_BCHW, mask_BN).main_MV, mim->forward(images_BCHW, mask_BN).main_MV));
}

TEST_CASE("mim: accuracy is the share of codes foretold") {
  torch::manual_seed(55);
  MaskedImageModel mim(golden_options(true));
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  const auto mask_BN = torch::rand({2, 64}).lt(0.4);
  const auto logits = mim->forward(images_BCHW, mask_BN);
  const auto all = logits.main_MV.size(0);
  auto targets_M = logits.main_MV.argmax(1);
  targets_M.slice(0, 0, 5).add_(1).remainder_(64);
  const auto loss = mim->loss(images_BCHW, mask_BN, targets_M);
  CHECK(loss.accuracy_main.item<double>() == doctest::Approx(1 - 5.0 / static_cast<double>(all)));
  const auto right_cls_pt = logits.cls_pt_MV.argmax(1).eq(targets_M).to(torch::kFloat64).mean().item<double>();
  CHECK(loss.accuracy_cls_pt.item<double>() == doctest::Approx(right_cls_pt));
}

TEST_CASE("mim: a mask of another shape or type, and layers the model does not have, are refused") {
  MaskedImageModel mim(golden_options(true));
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  CHECK_THROWS_WITH_AS(mim->forward(images_BCHW, torch::zeros({2, 63}, torch::kBool)), doctest::Contains("[2, 64]"),
                       Error);
  CHECK_THROWS_AS(mim->forward(images_BCHW, torch::zeros({1, 64}, torch::kBool)), Error);
  CHECK_THROWS_WITH_AS(mim->forward(images_BCHW, torch::zeros({2, 64})), doctest::Contains("Float"), Error);
  MimOptions options = golden_options(true);
  options.early_layers = 5;
  CHECK_THROWS_WITH_AS(MaskedImageModel{options}, doctest::Contains("--early-layers"), Error);
}

}  // namespace
}  // namespace beit

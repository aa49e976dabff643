// One step at base size, as tests/python/parity.py states it: values and gradients.
// Shape letters: B images, N patches, V codes.
#include "core/mim.h"
#include "core/tokenizer.h"
#include "tests/core/golden.h"
#include "tests/support.h"
#include "train/models.h"

namespace beit {
namespace {

constexpr double kTolerance = 1e-5, kGradientTolerance = 1e-4;

TEST_CASE("parity: the base tokenizer's losses, codes and gradients equal PyTorch's") {
  const auto path = oracle_file("tokenizer.safetensors");
  if (!path) return;
  const auto file = read_safetensors(*path).tensors;
  Tokenizer tokenizer(tokenizer_options({}, {.kmeans_start = false, .revive_threshold = 0}, 512));
  load_state_dict_strict(*tokenizer, tensors_under(file, "w."), path->string());
  const auto loss = tokenizer->forward(file.at("in.images"), file.at("in.target"));
  loss.total.backward();
  tokenizer->quantizer()->update();
  CHECK(torch::equal(loss.ids_BN.flatten(), file.at("out.ids").flatten()));
  const double reconstruction = difference(loss.reconstruction, file.at("out.reconstruction")),
               commitment = difference(loss.commitment, file.at("out.commitment")),
               codebook = difference(tokenizer->quantizer()->codebook(), file.at("out.codebook"));
  CHECK(reconstruction < kTolerance);
  CHECK(commitment < kTolerance);
  CHECK(codebook < kTolerance);
  const double gradient = check_gradients(*tokenizer, tensors_under(file, "grad."), kGradientTolerance);
  fmt::print(
      "parity: tokenizer: reconstruction loss {:.1e}, commitment loss {:.1e}, code book {:.1e}, gradient {:.1e}\n",
      reconstruction, commitment, codebook, gradient);
}

TEST_CASE("parity: the base pre-training model's logits, losses and gradients equal PyTorch's") {
  const auto path = oracle_file("mim.safetensors");
  if (!path) return;
  const auto file = read_safetensors(*path).tensors;
  MaskedImageModel mim(mim_options({}, {}, 8192));
  load_state_dict_strict(*mim, tensors_under(file, "w."), path->string());
  const auto mask_BN = file.at("in.mask");
  const auto logits = mim->forward(file.at("in.images"), mask_BN);
  const auto loss = mim->loss(file.at("in.images"), mask_BN, file.at("in.codes").index({mask_BN}));
  loss.total.backward();
  const double main = difference(loss.main, file.at("out.loss_main")),
               cls_pt = difference(loss.cls_pt, file.at("out.loss_cls_pt")),
               logit = std::max(relative_difference(logits.main_MV, file.at("out.logits_main")),
                                relative_difference(logits.cls_pt_MV, file.at("out.logits_cls_pt")));
  CHECK(main < kTolerance);
  CHECK(cls_pt < kTolerance);
  CHECK(logit < kTolerance);
  const double gradient = check_gradients(*mim, tensors_under(file, "grad."), kGradientTolerance);
  fmt::print("parity: pre-training: main loss {:.1e}, CLS loss {:.1e}, logits {:.1e}, gradient {:.1e}\n", main, cls_pt,
             logit, gradient);
}

}  // namespace
}  // namespace beit

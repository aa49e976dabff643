// Shape letters: B images, N patches, D code width, K codes.
#include "core/quantizer.h"

#include "base/error.h"
#include "core/kmeans.h"
#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

torch::Tensor unit(const torch::Tensor& x) { return x / x.norm(2, -1, true); }

/// 16 codes of width 4 at random places, in train().
Quantizer small_quantizer(QuantizerOptions options = {}, int64_t seed = 5) {
  torch::manual_seed(static_cast<uint64_t>(seed));
  options.codes = 16;
  options.width = 4;
  options.kmeans_start = false;
  return Quantizer(options);
}

/// Features that lie around four directions only.
torch::Tensor clustered(int64_t images, int64_t patches) {
  const auto directions = torch::eye(4);
  const auto which = torch::randint(4, {images, patches}, torch::kInt64);
  return directions.index_select(0, which.flatten()).view({images, patches, 4}) +
         0.1 * torch::randn({images, patches, 4});
}

TEST_CASE("quantizer: three training steps and an evaluation equal the oracle") {
  const auto file = read_safetensors(golden("quantizer.safetensors")).tensors;
  Quantizer quantizer(QuantizerOptions{.codes = 64, .width = 8, .kmeans_start = false});
  load_state_dict_strict(*quantizer, tensors_under(file, "w."), "golden/quantizer");
  for (const std::string step : {"0", "1", "2"}) {
    CAPTURE(step);
    const auto z_BND = file.at("in.z" + step).clone().requires_grad_();
    const auto out = quantizer->forward(z_BND);
    ((out.codes_BND * file.at("in.r" + step)).sum() + out.loss).backward();
    quantizer->update();
    CHECK(torch::equal(out.ids_BN.flatten(), file.at("out.index" + step)));
    CHECK(difference(out.codes_BND, file.at("out.zq" + step)) < 1e-5);
    CHECK(difference(out.loss, file.at("out.loss" + step)) < 1e-5);
    CHECK(difference(z_BND.grad(), file.at("out.grad_z" + step)) < 1e-5);
    CHECK(difference(quantizer->codebook(), file.at("out.codebook" + step)) < 1e-5);
    CHECK(difference(state_dict(*quantizer).at("cluster_size"), file.at("out.usage" + step)) < 1e-5);
  }
  quantizer->eval();
  const auto out = quantizer->forward(file.at("in.z_eval"));
  CHECK(torch::equal(out.ids_BN.flatten(), file.at("out.index_eval")));
  CHECK(difference(out.loss, file.at("out.loss_eval")) < 1e-5);
  CHECK(difference(quantizer->codebook(), file.at("out.codebook_eval")) < 1e-5);
  // The published form moves training's counter in evaluation too; ours has a count apart, which gives the same.
  const auto usage_K = state_dict(*quantizer).at("cluster_size");
  CHECK(torch::equal(usage_K.gt(0), file.at("out.usage2").gt(0)));
  CHECK(difference(0.99 * usage_K + 0.01 * quantizer->counts(), file.at("out.usage_eval")) < 1e-5);
}

TEST_CASE("quantizer: the k-means start equals k-means of the first batch, its counts kept in the file's names") {
  Quantizer quantizer(QuantizerOptions{.codes = 8, .width = 4, .decay = 1.0 - 1e-9});
  CHECK(state_dict(*quantizer).at("embedding.initted").item<float>() == 0);
  CHECK(torch::equal(quantizer->codebook(), torch::zeros({8, 4})));
  torch::manual_seed(21);
  const auto features_BND = torch::randn({3, 20, 4});
  quantizer->forward(torch::randn({3, 20, 4}));
  quantizer->discard();  // also of the start nothing is left
  quantizer->update();
  CHECK(torch::equal(quantizer->codebook(), torch::zeros({8, 4})));
  torch::manual_seed(22);
  const auto first = quantizer->forward(features_BND);
  CHECK(state_dict(*quantizer).at("embedding.initted").item<float>() == 0);
  CHECK(torch::equal(quantizer->forward(features_BND).ids_BN, first.ids_BN));  // by the same codes
  quantizer->update();
  torch::manual_seed(22);
  const auto start_K = torch::randperm(60, torch::kInt64).slice(0, 0, 8);
  const auto expected = kmeans(unit(features_BND).flatten(0, 1), start_K);
  const auto tensors = state_dict(*quantizer);
  CHECK(difference(quantizer->codebook(), expected.means_KD) < 1e-6);
  CHECK(torch::equal(tensors.at("embedding.cluster_size"), expected.counts_K.to(torch::kFloat32)));
  CHECK(torch::equal(tensors.at("embedding.embed_avg"), torch::zeros({8, 4})));
  CHECK(tensors.at("embedding.initted").item<float>() == 1);
  const auto first_KD = quantizer->codebook().clone();
  quantizer->forward(torch::randn({3, 20, 4}));
  quantizer->update();
  CHECK(difference(quantizer->codebook(), first_KD) < 1e-6);
}

TEST_CASE("quantizer: the k-means start takes fewer rows than codes with repetition") {
  Quantizer quantizer(QuantizerOptions{.codes = 32, .width = 4});
  torch::manual_seed(23);
  const auto z_MD = unit(torch::randn({1, 5, 4}));
  quantizer->forward(z_MD);
  quantizer->update();
  CHECK(difference(quantizer->codebook().norm(2, 1), torch::ones(32)) < 1e-6);
  CHECK((quantizer->codebook().mm(z_MD[0].t()).amax(1) > 1 - 1e-6).all().item<bool>());
}

TEST_CASE("quantizer: a code book given from outside takes the place of the k-means start") {
  Quantizer quantizer(QuantizerOptions{.codes = 6, .width = 4});
  torch::manual_seed(24);
  const auto codes_KD = 3 * torch::randn({6, 4});
  quantizer->set_codebook(codes_KD);
  quantizer->forward(torch::randn({2, 9, 4}));
  CHECK(torch::equal(quantizer->codebook(), codes_KD));
  CHECK_THROWS_WITH_AS(quantizer->set_codebook(torch::randn({6, 5})), doctest::Contains("--code-dim"), Error);
}

TEST_CASE("quantizer: codes have unit length and the gradient passes straight to the input") {
  auto quantizer = small_quantizer();
  const auto z_BND = unit(torch::randn({2, 9, 4})).requires_grad_();
  const auto out = quantizer->forward(z_BND);
  CHECK(difference(out.codes_BND.norm(2, -1), torch::ones({2, 9})) < 1e-6);
  const auto weight_BND = torch::randn({2, 9, 4});
  (out.codes_BND * weight_BND).sum().backward();
  // Through the normalisation of a unit vector: the part along z is taken off.
  const auto expected_BND = weight_BND - (weight_BND * z_BND).sum(-1, true).detach() * z_BND.detach();
  CHECK(difference(z_BND.grad(), expected_BND) < 1e-5);
}

TEST_CASE("quantizer: beta scales the loss, and the code book has no gradient") {
  auto one = small_quantizer(), three = small_quantizer({.beta = 3.0});
  const auto z_BND = torch::randn({2, 9, 4}).requires_grad_();
  const auto loss = one->forward(z_BND).loss;
  CHECK(difference(three->forward(z_BND).loss, 3 * loss) < 1e-6);
  for (const auto& parameter : one->parameters()) CHECK(!parameter.requires_grad());
}

TEST_CASE("quantizer: lengths of features change nothing") {
  auto quantizer = small_quantizer();
  const auto z_BND = torch::randn({2, 9, 4});
  const auto first = quantizer->forward(z_BND), scaled = quantizer->forward(z_BND * 100);
  CHECK(torch::equal(first.ids_BN, scaled.ids_BN));
  CHECK(difference(first.loss, scaled.loss) < 1e-6);
}

TEST_CASE("quantizer: half-precision features are compared in float32") {
  auto quantizer = small_quantizer();
  const auto z_BND = torch::randn({2, 9, 4}).to(torch::kBFloat16);
  const auto out = quantizer->forward(z_BND);
  CHECK((out.codes_BND.scalar_type() == torch::kFloat32));
  CHECK(torch::equal(out.ids_BN, quantizer->forward(z_BND.to(torch::kFloat32)).ids_BN));
}

TEST_CASE("quantizer: eval() leaves every code untouched and counts apart from training") {
  auto quantizer = small_quantizer({.revive_threshold = 0.5, .revive_every = 1});
  quantizer->forward(torch::randn({2, 9, 4}));
  quantizer->update();
  const auto before = state_dict(*quantizer);
  const auto codes_KD = before.at("embedding.weight").clone(), usage_K = before.at("cluster_size").clone();
  const auto train_counts_K = quantizer->counts().clone();
  quantizer->eval();
  quantizer->reset_usage();
  const auto out = quantizer->forward(torch::randn({2, 9, 4}));
  quantizer->update();
  CHECK(torch::equal(codes_KD, quantizer->codebook()));
  CHECK(torch::equal(usage_K, before.at("cluster_size")));
  CHECK(torch::equal(quantizer->counts(), torch::bincount(out.ids_BN.flatten(), {}, 16)));
  quantizer->train();
  CHECK(torch::equal(quantizer->counts(), train_counts_K));
}

TEST_CASE("quantizer: discard() leaves nothing of a forward pass") {
  auto quantizer = small_quantizer({.revive_threshold = 0.5, .revive_every = 1});
  const auto before_KD = quantizer->codebook().clone();
  quantizer->forward(torch::randn({2, 9, 4}));
  quantizer->discard();
  quantizer->update();
  CHECK(torch::equal(quantizer->codebook(), before_KD));
  CHECK(quantizer->counts().sum().item<int64_t>() == 0);
  for (const auto& [name, tensor] : quantizer->progress()) {
    CAPTURE(name);
    CHECK(tensor.abs().sum().item<int64_t>() == 0);
  }
}

TEST_CASE("quantizer: several forward passes and one update equal one batch") {
  auto parts = small_quantizer(), whole = small_quantizer();
  const auto z_BND = torch::randn({6, 9, 4});
  for (int64_t i = 0; i < 6; i += 2) parts->forward(z_BND.slice(0, i, i + 2));
  parts->update();
  whole->forward(z_BND);
  whole->update();
  CHECK(difference(parts->codebook(), whole->codebook()) < 1e-6);
  CHECK(torch::equal(parts->counts(), whole->counts()));
  CHECK(difference(state_dict(*parts).at("cluster_size"), state_dict(*whole).at("cluster_size")) < 1e-6);
}

TEST_CASE("quantizer: a code without vectors keeps its own, those with go 1 - decay of the way to their mean") {
  auto quantizer = small_quantizer({.decay = 0.75});
  const auto before_KD = quantizer->codebook().clone();
  const auto z_BND = unit(torch::randn({1, 6, 4}));
  const auto ids_N = quantizer->forward(z_BND).ids_BN[0];
  quantizer->update();
  const auto counts_K = torch::bincount(ids_N, {}, 16);
  for (int64_t code = 0; code < 16; ++code) {
    CAPTURE(code);
    auto expected_D = before_KD[code];
    if (counts_K[code].item<int64_t>() > 0) {
      const auto mean_D = unit(z_BND[0].index_select(0, ids_N.eq(code).nonzero().squeeze(1)).mean(0));
      expected_D = unit(0.75 * before_KD[code] + 0.25 * mean_D);
    }
    CHECK(difference(quantizer->codebook()[code], expected_D) < 1e-6);
  }
}

TEST_CASE("quantizer: revival turns dead codes into the batch's own vectors and leaves the others") {
  auto plain = small_quantizer(), reviving = small_quantizer({.revive_threshold = 0.1, .revive_every = 2});
  torch::Tensor z_BND;
  for (int step = 0; step < 2; ++step) {
    z_BND = clustered(2, 40);
    plain->forward(z_BND);
    plain->update();
    reviving->forward(z_BND);
    reviving->update();
    if (step == 0) CHECK(torch::equal(plain->codebook(), reviving->codebook()));  // a search every second update
  }
  const auto alive_K = plain->counts().ge(0.1 * 160 / 16);
  REQUIRE(alive_K.any().item<bool>());
  REQUIRE(!alive_K.all().item<bool>());
  CHECK(torch::equal(reviving->codebook().index({alive_K}), plain->codebook().index({alive_K})));
  const auto revived_KD = reviving->codebook().index({~alive_K});
  const auto distance_KM = torch::cdist(revived_KD, unit(z_BND).flatten(0, 1));
  CHECK(distance_KM.amin(1).max().item<double>() < 1e-3);
  CHECK(std::get<0>(torch::unique_dim(distance_KM.argmin(1), 0)).numel() == revived_KD.size(0));  // no vector twice
}

TEST_CASE("quantizer: revival with fewer vectors than dead codes repeats them") {
  auto quantizer = small_quantizer({.revive_threshold = 0.5, .revive_every = 1});
  const auto z_BND = unit(torch::randn({1, 3, 4}));
  quantizer->forward(z_BND);
  quantizer->update();
  CHECK(difference(quantizer->codebook().norm(2, 1), torch::ones(16)) < 1e-6);
}

TEST_CASE("quantizer: a collapsed code book recovers by revival and not without") {
  const auto share_used = [](double threshold) {
    auto quantizer = small_quantizer({.revive_threshold = threshold, .revive_every = 5});
    quantizer->set_codebook(unit(torch::ones({16, 4}) + 1e-3 * torch::randn({16, 4})));
    for (int step = 0; step < 40; ++step) {
      quantizer->forward(torch::randn({4, 32, 4}));
      quantizer->update();
    }
    quantizer->eval();
    quantizer->forward(torch::randn({8, 64, 4}));
    return code_usage(quantizer->counts());
  };
  CHECK(share_used(0.02).percent == 100);
  CHECK(share_used(0.02).perplexity > 10);
  CHECK(share_used(0).percent < 80);
}

TEST_CASE("quantizer: a threshold of zero is the published form to the bit") {
  auto published = small_quantizer(), off = small_quantizer({.revive_threshold = 0, .revive_every = 1});
  for (int step = 0; step < 5; ++step) {
    const auto z_BND = clustered(2, 40);
    for (auto* quantizer : {&published, &off}) {
      (*quantizer)->forward(z_BND);
      (*quantizer)->update();
    }
  }
  CHECK(published->counts().eq(0).any().item<bool>());  // there were dead codes
  CHECK(torch::equal(published->codebook(), off->codebook()));
}

TEST_CASE("quantizer: a resumed quantizer goes on as one that never stopped") {
  const QuantizerOptions options{.revive_threshold = 0.3, .revive_every = 3};
  auto unbroken = small_quantizer(options);
  Quantizer resumed = nullptr;
  for (int step = 0; step < 7; ++step) {
    if (step == 4) {
      resumed = small_quantizer(options, /*seed=*/99);
      load_state_dict_strict(*resumed, state_dict(*unbroken), "copy");
      resumed->set_progress(unbroken->progress());
    }
    torch::manual_seed(static_cast<uint64_t>(200 + step));
    const auto z_BND = clustered(2, 40);
    for (auto* quantizer : {&unbroken, &resumed}) {
      if (quantizer->is_empty()) continue;
      torch::manual_seed(static_cast<uint64_t>(300 + step));
      (*quantizer)->forward(z_BND);
      (*quantizer)->update();
    }
  }
  CHECK(torch::equal(unbroken->codebook(), resumed->codebook()));
  CHECK(torch::equal(unbroken->counts(), resumed->counts()));
  CHECK(torch::equal(state_dict(*unbroken).at("cluster_size"), state_dict(*resumed).at("cluster_size")));
}

TEST_CASE("quantizer: reset_usage() starts the counts of the present mode anew") {
  auto quantizer = small_quantizer();
  quantizer->forward(torch::randn({2, 9, 4}));
  quantizer->update();
  quantizer->eval();
  quantizer->forward(torch::randn({2, 9, 4}));
  quantizer->reset_usage();
  CHECK(quantizer->counts().sum().item<int64_t>() == 0);
  quantizer->train();
  CHECK(quantizer->counts().sum().item<int64_t>() == 18);
  quantizer->reset_usage();
  CHECK(quantizer->counts().sum().item<int64_t>() == 0);
  CHECK(state_dict(*quantizer).at("cluster_size").sum().item<double>() == 0);
}

TEST_CASE("quantizer: usage in percent, unused codes and perplexity") {
  const auto even = code_usage(torch::full({8}, 5, torch::kInt64));
  CHECK(even.percent == doctest::Approx(100));
  CHECK(even.unused == 0);
  CHECK(even.perplexity == doctest::Approx(8));
  const auto half = code_usage(torch::tensor({0, 3, 3, 0}));
  CHECK(half.percent == doctest::Approx(50));
  CHECK(half.unused == 2);
  CHECK(half.perplexity == doctest::Approx(2));
  const auto skew = code_usage(torch::tensor({1, 3}));
  CHECK(skew.perplexity == doctest::Approx(std::exp(-0.25 * std::log(0.25) - 0.75 * std::log(0.75))));
  CHECK(code_usage(torch::zeros({4}, torch::kInt64)).perplexity == doctest::Approx(1));
}

TEST_CASE("quantizer: wrong options and shapes are refused with the flag to change") {
  CHECK_THROWS_WITH_AS(Quantizer(QuantizerOptions{.codes = 0}), doctest::Contains("--codes"), Error);
  CHECK_THROWS_WITH_AS(Quantizer(QuantizerOptions{.codes = 4, .decay = 1}), doctest::Contains("--code-decay"), Error);
  CHECK_THROWS_AS(Quantizer(QuantizerOptions{.codes = 4, .revive_threshold = 1}), Error);
  auto quantizer = small_quantizer();
  CHECK_THROWS_WITH_AS(quantizer->forward(torch::randn({2, 9, 5})), doctest::Contains("got [2, 9, 5]"), Error);
}

}  // namespace
}  // namespace beit

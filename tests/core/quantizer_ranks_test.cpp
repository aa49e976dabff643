// The codebook of a step that is cut over ranks and into parts. Shape letters: B images, N patches, D width, K codes.
#include <array>

#include "base/error.h"
#include "core/quantizer.h"
#include "tests/core/golden.h"
#include "tests/core/simulated_ranks.h"
#include "tests/core/small_networks.h"

namespace beit {
namespace {

constexpr int64_t kSamples = 12, kPatches = 10, kWidth = 6, kCodes = 8;
constexpr QuantizerOptions kOptions{.codes = kCodes, .width = kWidth, .revive_threshold = 0.95, .revive_every = 3};

struct Trained {
  torch::Tensor codes_KD, counts_K, usage_K;
  std::vector<torch::Tensor> ids_BN;  // of each step, in the samples' order
  int64_t revived = 0;
};

/// The parts of each rank: all samples dealt out over ranks, those of a rank over its parts.
std::vector<std::vector<StepPart>> parts_of_ranks(int64_t ranks, int64_t parts) {
  std::vector<std::vector<StepPart>> all(static_cast<size_t>(ranks));
  const auto dealt = deal(kSamples, ranks * parts);
  for (size_t i = 0; i < dealt.size(); ++i) all[i % all.size()].push_back(dealt[i]);
  return all;
}

/// Five updates after a k-means start, the third with a revival.
Trained train(int64_t ranks, int64_t parts) {
  torch::manual_seed(71);
  const auto features_SBND = torch::randn({5, kSamples, kPatches, kWidth}, torch::kFloat64);
  SimulatedRanks simulated(ranks);
  const auto dealt = parts_of_ranks(ranks, parts);
  std::vector<Quantizer> quantizers;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    quantizers.emplace_back(kOptions, simulated.ranks(rank));
    quantizers.back()->to(torch::kFloat64);
  }
  Trained trained;
  for (int64_t step = 0; step < 5; ++step) {
    auto ids_BN = torch::full({kSamples, kPatches}, -1, torch::kInt64);
    torch::Tensor before_KD;
    torch::manual_seed(static_cast<uint64_t>(72 + step));
    simulated.run([&](int64_t rank) {
      auto& quantizer = quantizers[static_cast<size_t>(rank)];
      std::vector<torch::Tensor> features, samples;
      for (const StepPart& part : dealt[static_cast<size_t>(rank)]) {
        features.push_back(features_SBND[step].index_select(0, part.samples_B));
        samples.push_back(part.samples_B);
      }
      if (quantizer->needs_start()) {
        quantizer->stage_start(torch::cat(features), {.samples = kSamples, .samples_B = torch::cat(samples)});
        CHECK(!quantizer->needs_start());
      }
      for (size_t i = 0; i < features.size(); ++i) {
        const auto out = quantizer->forward(features[i], dealt[static_cast<size_t>(rank)][i]);
        ids_BN.index_copy_(0, samples[i], out.ids_BN);  // rows of its own: no rank writes another's
      }
      quantizer->update();
    });
    trained.ids_BN.push_back(ids_BN);
    for (const Quantizer& quantizer : quantizers) {
      CHECK(torch::equal(quantizer->codebook(), quantizers[0]->codebook()));
      CHECK(torch::equal(quantizer->counts(), quantizers[0]->counts()));
    }
    if (step == 2) {  // a revived code is one of the step's own vectors
      const auto z_MD = features_SBND[step].flatten(0, 1) / features_SBND[step].flatten(0, 1).norm(2, 1, true);
      trained.revived = torch::cdist(quantizers[0]->codebook(), z_MD).amin(1).lt(1e-6).sum().item<int64_t>();
    }
  }
  trained.codes_KD = quantizers[0]->codebook().clone();
  trained.counts_K = quantizers[0]->counts().clone();
  trained.usage_K = state_dict(*quantizers[0]).at("cluster_size").clone();
  return trained;
}

TEST_CASE("quantizer: the codes do not depend on the number of ranks and parts that a step is cut into") {
  const Trained whole = train(1, 1);
  CHECK(whole.revived > 0);
  CHECK(whole.revived < kCodes);
  for (const auto& [ranks, parts] : {std::pair{1, 2}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {3, 4}, {4, 1}, {4, 3}}) {
    CAPTURE(ranks);
    CAPTURE(parts);
    const Trained cut = train(ranks, parts);
    CHECK(difference(cut.codes_KD, whole.codes_KD) < 1e-12);
    CHECK(torch::equal(cut.counts_K, whole.counts_K));
    CHECK(difference(cut.usage_K, whole.usage_K) < 1e-12);
    CHECK(cut.revived == whole.revived);
    for (size_t step = 0; step < whole.ids_BN.size(); ++step) CHECK(torch::equal(cut.ids_BN[step], whole.ids_BN[step]));
  }
}

TEST_CASE("quantizer: two ranks without parts start, move and revive as one that sees rank 0's batch, then rank 1's") {
  torch::manual_seed(25);
  const auto features_BND = torch::randn({4, 10, 4});
  const QuantizerOptions options{.codes = 8, .width = 4, .revive_threshold = 0.9, .revive_every = 2};
  Quantizer alone(options);
  SimulatedRanks simulated(2);
  std::array<Quantizer, 2> pair{Quantizer(options, simulated.ranks(0)), Quantizer(options, simulated.ranks(1))};
  for (uint64_t step = 0; step < 2; ++step) {  // the second with a search for dead codes
    torch::manual_seed(26 + step);
    simulated.run([&](int64_t rank) {
      auto& quantizer = pair[static_cast<size_t>(rank)];
      quantizer->forward(rank == 0 ? features_BND.slice(0, 0, 3) : features_BND.slice(0, 3));
      quantizer->update();
    });
    torch::manual_seed(26 + step);
    alone->forward(features_BND);
    alone->update();
    CHECK(difference(pair[0]->codebook(), alone->codebook()) < 1e-6);
    CHECK(torch::equal(pair[0]->counts(), alone->counts()));
    CHECK(torch::equal(pair[0]->codebook(), pair[1]->codebook()));
  }
}

TEST_CASE("quantizer: the vectors of all parts of a step serve revival") {
  // One part alone has fewer vectors than there are dead codes.
  Quantizer quantizer(QuantizerOptions{
      .codes = 32, .width = kWidth, .kmeans_start = false, .revive_threshold = 0.99, .revive_every = 1});
  torch::manual_seed(27);
  quantizer->set_codebook(torch::ones({32, kWidth}) + 1e-3 * torch::randn({32, kWidth}));
  const auto features_BND = torch::randn({8, 8, kWidth});
  for (const StepPart& part : deal(8, 4)) quantizer->forward(features_BND.index_select(0, part.samples_B), part);
  quantizer->update();
  const auto distance_KK = torch::cdist(quantizer->codebook(), quantizer->codebook()) + torch::eye(32);
  CHECK(distance_KK.min().item<double>() > 1e-4);  // no vector twice
}

TEST_CASE("quantizer: parts that do not make up the step, and a start from one of them, are refused") {
  Quantizer quantizer(kOptions);
  const auto features_BND = torch::randn({kSamples / 2, kPatches, kWidth});
  const StepPart half = deal(kSamples, 2)[0];
  CHECK_THROWS_WITH_AS(quantizer->forward(features_BND, half), doctest::Contains("stage_start()"), Error);
  CHECK(quantizer->needs_start());
  quantizer->set_codebook(torch::randn({kCodes, kWidth}));
  CHECK(!quantizer->needs_start());
  for (int step = 0; step < 2; ++step) {
    quantizer->forward(features_BND, half);
    quantizer->update();
  }
  quantizer->forward(features_BND, half);
  CHECK_THROWS_WITH_AS(quantizer->update(), doctest::Contains("120 vectors of all 12 samples of the step, got 60"),
                       Error);
  CHECK_THROWS_WITH_AS(quantizer->forward(features_BND, deal(kSamples - 1, 2)[0]),
                       doctest::Contains("12 samples with 10 vectors each, got one of 11 with 10"), Error);
}

TEST_CASE("quantizer: a discarded start is made again") {
  Quantizer quantizer(kOptions);
  torch::manual_seed(28);
  const auto features_BND = torch::randn({kSamples, kPatches, kWidth});
  CHECK(quantizer->needs_start());
  quantizer->stage_start(features_BND);
  CHECK(!quantizer->needs_start());
  CHECK(torch::equal(quantizer->codebook(), torch::zeros({kCodes, kWidth})));  // until update()
  quantizer->discard();
  CHECK(quantizer->needs_start());
}

TEST_CASE("step rows: the first rows are whole samples, in the samples' order") {
  const auto z_BND = torch::arange(24, torch::kFloat32).view({4, 3, 2});
  const Ranks one;
  StepRows step;
  for (const StepPart& part : deal(4, 2)) step.add(z_BND.index_select(0, part.samples_B), part);
  const auto placed = step.place(one);
  CHECK(placed.rows == 12);
  CHECK(torch::equal(placed.front(100, one), z_BND.flatten(0, 1)));
  CHECK(torch::equal(placed.front(8, one), z_BND.slice(0, 0, 2).flatten(0, 1)));
  CHECK(torch::equal(placed.front(2, one), z_BND[0]));
  const auto row_R = torch::tensor({11, 0, 4, 4});
  CHECK(torch::equal(placed.pick(row_R, one), z_BND.flatten(0, 1).index_select(0, row_R)));
}

TEST_CASE("tokenizer: the k-means start of a step in parts is that of the whole step") {
  const StepData data(12, torch::kFloat64);
  const auto start = [&](int64_t parts) {
    torch::manual_seed(29);
    Tokenizer tokenizer(small_tokenizer());
    tokenizer->to(torch::kFloat64);
    const auto dealt = deal(12, parts);
    std::vector<torch::Tensor> images;
    for (const StepPart& part : dealt) images.push_back(data.images_BCHW.index_select(0, part.samples_B));
    torch::manual_seed(kStepSeed);
    tokenizer->stage_start(images, dealt);
    CHECK(!tokenizer->quantizer()->needs_start());
    CHECK(torch::equal(tokenizer->quantizer()->codebook(), torch::zeros({16, 8}, torch::kFloat64)));
    for (const StepPart& part : dealt) step_loss(tokenizer, data, part);
    tokenizer->quantizer()->update();
    return tokenizer->quantizer()->codebook().clone();
  };
  torch::manual_seed(29);
  Tokenizer by_itself(small_tokenizer());
  by_itself->to(torch::kFloat64);
  step_loss(by_itself, data);  // the same seed, and draws of its own
  by_itself->quantizer()->update();
  for (const int64_t parts : {1, 2, 4}) CHECK(difference(start(parts), by_itself->quantizer()->codebook()) < 1e-12);

  by_itself->eval();
  CHECK_THROWS_WITH_AS(by_itself->stage_start({data.images_BCHW}, {{}}), doctest::Contains("eval()"), Error);
  by_itself->train();
  CHECK_THROWS_AS(by_itself->stage_start({}, {}), Error);
  CHECK_THROWS_AS(by_itself->stage_start({data.images_BCHW}, {}), Error);
}

}  // namespace
}  // namespace beit

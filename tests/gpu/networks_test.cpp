// Networks on a GPU beside the same on the CPU. Shape letters: B images, Q queries, T tokens, D width, H heads.
#include <doctest/doctest.h>

#include <algorithm>

#include "core/attention.h"
#include "tests/core/small_networks.h"
#include "tests/gpu/gpu.h"
#include "train/precision.h"

namespace beit {
namespace {

/// What attention gives and the gradients of q, k, v and bias, all in float32 on the CPU.
std::vector<torch::Tensor> attention_of(std::vector<torch::Tensor> qkv, torch::Tensor bias_HTT,
                                        const torch::Tensor& tokens_BQ, const torch::Device& device,
                                        torch::ScalarType type) {
  const int64_t heads = bias_HTT.size(0);
  for (auto& x : qkv) x = x.to(device, type).detach().requires_grad_();
  bias_HTT = bias_HTT.to(device).detach().requires_grad_();
  const auto rows_BQ = tokens_BQ.defined() ? tokens_BQ.to(device) : tokens_BQ;
  const auto y_BQD = attend(qkv, heads, bias_HTT, rows_BQ);
  y_BQD.to(torch::kFloat32).square().sum().backward();
  std::vector<torch::Tensor> found{y_BQD, qkv[0].grad(), qkv[1].grad(), qkv[2].grad(), bias_HTT.grad()};
  for (auto& x : found) x = x.detach().to(torch::kCPU, torch::kFloat32);
  return found;
}

TEST_CASE("gpu: attention with a trained bias, values and all gradients, for all tokens and for some") {
  const auto device = gpu();
  if (!device) return;
  torch::manual_seed(31);
  constexpr int64_t kImages = 3, kTokens = 197, kWidth = 64, kHeads = 2;
  const auto bias_HTT = torch::randn({kHeads, kTokens, kTokens});
  const auto some_BQ = torch::rand({kImages, kTokens}).argsort(1, /*descending=*/false).slice(1, 0, 75).contiguous();
  for (const auto& tokens_BQ : std::vector<torch::Tensor>{{}, some_BQ}) {
    const int64_t queries = tokens_BQ.defined() ? tokens_BQ.size(1) : kTokens;
    const std::vector<torch::Tensor> qkv{torch::randn({kImages, queries, kWidth}),
                                         torch::randn({kImages, kTokens, kWidth}),
                                         torch::randn({kImages, kTokens, kWidth})};
    const auto expected = attention_of(qkv, bias_HTT, tokens_BQ, torch::kCPU, torch::kFloat32);
    for (const auto& [type, tolerance] : {std::pair(torch::kFloat32, 1e-4), {torch::kBFloat16, 2e-2}}) {
      const auto found = attention_of(qkv, bias_HTT, tokens_BQ, *device, type);
      for (size_t i = 0; i < found.size(); ++i) {
        CAPTURE(i);
        CHECK(relative_difference(found[i], expected[i]) < tolerance);
      }
    }
  }
}

/// The loss, and the gradients on the CPU by name.
std::pair<double, TensorMap> mim_step(MaskedImageModel& mim, const StepData& data, const torch::Device& device,
                                      const std::string& precision) {
  mim->to(device);
  mim->zero_grad();
  const auto masked = masked_tokens(data.mask_BN, device);
  const auto targets_M = data.codes_BN.masked_select(data.mask_BN).to(device);
  torch::Tensor loss;
  {
    const Autocast autocast(device, reduced_type(precision, device));
    loss = mim->loss(data.images_BCHW.to(device), masked, targets_M).total;
  }
  loss.backward();
  TensorMap found;
  for (const auto& [name, grad] : gradients(*mim)) found.emplace(name, grad.to(torch::kCPU));
  mim->to(torch::kCPU);
  mim->zero_grad();
  return {loss.item<double>(), found};
}

TEST_CASE("gpu: loss and gradients of masked image modelling, in float32 and bf16, layer scale among them") {
  const auto device = gpu();
  if (!device) return;
  torch::manual_seed(32);
  MimOptions options = small_mim();
  options.vit.drop_path = 0;  // its draws are the device's own
  MaskedImageModel mim(options);
  const StepData data(5, torch::kFloat32);
  const auto [expected, expected_gradients] = mim_step(mim, data, torch::kCPU, "float32");
  for (const auto& [precision, loss_tolerance, tolerance] : {std::tuple("float32", 1e-5, 1e-4), {"bf16", 5e-3, 0.08}}) {
    CAPTURE(precision);
    const auto [loss, found] = mim_step(mim, data, *device, precision);
    CHECK(loss == doctest::Approx(expected).epsilon(loss_tolerance));
    CHECK(found.size() == expected_gradients.size());
    for (const auto& [name, grad] : found) {
      CAPTURE(name);
      CHECK((grad.scalar_type() == torch::kFloat32));
      CHECK(relative_difference(grad, expected_gradients.at(name)) < tolerance);
    }
  }
}

TEST_CASE("gpu: the tokenizer's codes, and the codebook's move") {
  const auto device = gpu();
  if (!device) return;
  torch::manual_seed(33);
  TokenizerOptions options = small_tokenizer();
  options.encoder.drop_path = 0;
  options.quantizer.kmeans_start = false;
  const StepData data(6, torch::kFloat32);
  std::vector<torch::Tensor> codes, codebooks;
  for (const auto& where : {torch::Device(torch::kCPU), *device}) {
    torch::manual_seed(34);
    Tokenizer tokenizer(options);
    tokenizer->to(where);
    codes.push_back(tokenizer->masked_codes(data.images_BCHW.to(where), masked_tokens(data.mask_BN, where)).cpu());
    tokenizer->train();
    tokenizer->forward(data.images_BCHW.to(where), data.target_BNF.to(where));
    tokenizer->quantizer()->update();
    codebooks.push_back(tokenizer->quantizer()->codebook().cpu());
  }
  CHECK(torch::equal(codes[1], codes[0]));
  CHECK(difference(codebooks[1], codebooks[0]) < 1e-5);
}

}  // namespace
}  // namespace beit

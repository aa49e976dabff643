// One step of both networks: cut into parts, in float64, under autocast.
#include "core/full_precision.h"
#include "core/linear_cross_entropy.h"
#include "tests/core/small_networks.h"

namespace beit {
namespace {

template <class Network, class Options>
Network network(const Options& options, torch::ScalarType dtype) {
  torch::manual_seed(81);
  Network network(options);
  for (auto& [name, tensor] : state_dict(*network)) {
    if (name.ends_with("table") || name.ends_with("_bias")) tensor.normal_(0, 0.5);
  }
  network->to(dtype);
  return network;
}

MaskedImageModel a_mim(torch::ScalarType dtype) { return network<MaskedImageModel>(small_mim(), dtype); }

/// With a codebook: the start in parts has tests of its own.
Tokenizer a_tokenizer(torch::ScalarType dtype) {
  auto tokenizer = network<Tokenizer>(small_tokenizer(), dtype);
  torch::manual_seed(82);
  const auto codes_KD = torch::randn({16, 8}, dtype);
  tokenizer->quantizer()->set_codebook(codes_KD / codes_KD.norm(2, 1, true));
  return tokenizer;
}

template <class Network>
std::pair<double, TensorMap> step(Network network, const StepData& data, const std::vector<StepPart>& parts) {
  double loss = 0;
  for (const StepPart& part : parts) {
    const auto part_loss = step_loss(network, data, part);
    part_loss.backward();
    loss += part_loss.template item<double>();
  }
  return {loss, gradients(*network)};
}

template <class Make>
void check_parts(const Make& make) {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32}) {
    CAPTURE(std::string(torch::toString(dtype)));
    const StepData data(12, dtype);
    const auto [loss, whole] = step(make(dtype), data, {StepPart{}});
    const bool exact = dtype == torch::kFloat64;
    CHECK(whole.size() > 40);
    for (const int64_t parts : {1, 2, 4}) {
      CAPTURE(parts);
      const auto [loss_of_parts, gradients] = step(make(dtype), data, deal(12, parts));
      CHECK(std::abs(loss_of_parts - loss) < (exact ? 1e-12 : 1e-5));
      CHECK(gradients.size() == whole.size());
      for (const auto& [name, gradient] : whole) {
        CAPTURE(name);
        CHECK((gradients.at(name).scalar_type() == dtype));
        if (exact) CHECK(difference(gradients.at(name), gradient) < 1e-12);
        CHECK(relative_difference(gradients.at(name), gradient) < (exact ? 1e-12 : 5e-6));
      }
    }
  }
}

TEST_CASE("training step: masked image modelling in parts has the whole step's loss and gradients") {
  check_parts(a_mim);
}

TEST_CASE("training step: VQ-KD in parts has the whole step's loss and gradients") { check_parts(a_tokenizer); }

template <class Make>
void check_autocast(const Make& make) {
  const StepData data(12, torch::kFloat32);
  auto plain = make(torch::kFloat32);
  const double expected = step_loss(plain, data).template item<double>();
  plain->eval();
  const double expected_in_eval = step_loss(plain, data).template item<double>();
  for (const auto dtype : {torch::kBFloat16, torch::kHalf}) {
    CAPTURE(std::string(torch::toString(dtype)));
    auto network = make(torch::kFloat32);
    torch::Tensor loss;
    {
      const CpuAutocast autocast(dtype);
      loss = step_loss(network, data);
    }
    loss.backward();
    CHECK((loss.scalar_type() == torch::kFloat32));
    CHECK(std::abs(loss.item<double>() - expected) < 0.02 * std::abs(expected));
    CHECK(loss.item<double>() != expected);  // fewer bits were at work
    const auto found = gradients(*network);
    CHECK(found.size() > 40);
    for (const auto& [name, gradient] : found) {
      CAPTURE(name);
      CHECK((gradient.scalar_type() == torch::kFloat32));
      CHECK(gradient.isfinite().all().template item<bool>());
    }
    network->eval();
    const torch::NoGradGuard no_grad;  // attention takes another way
    const CpuAutocast autocast(dtype);
    const double in_eval = step_loss(network, data).template item<double>();
    CHECK(std::abs(in_eval - expected_in_eval) < 0.02 * std::abs(expected_in_eval));
  }
}

TEST_CASE("training step: masked image modelling under autocast has a near loss and finite float32 gradients") {
  check_autocast(a_mim);
}

TEST_CASE("training step: VQ-KD under autocast has a near loss and finite float32 gradients") {
  check_autocast(a_tokenizer);
}

TEST_CASE("autocast: what runs through the blocks stays float32, with and without position embedding") {
  const StepData data(2, torch::kFloat32);
  for (const bool absolute : {true, false}) {
    ViTOptions options = small_mim().vit;
    options.absolute_position = absolute;
    options.layer_scale = 0;  // its float32 gammas would hide fewer bits
    options.drop_path = 0;
    ViT vit(options, FinalNorm::kTokens);
    const CpuAutocast autocast(torch::kBFloat16);
    for (const auto& layer_BTD : vit->layers(data.images_BCHW, {1, 2, 4})) {
      CHECK((layer_BTD.scalar_type() == torch::kFloat32));
    }
  }
}

TEST_CASE("autocast: codes are sought in float32, and their vectors come from a float32 layer") {
  const StepData data(12, torch::kFloat32);
  auto tokenizer = a_tokenizer(torch::kFloat32);
  tokenizer->eval();
  const auto children = tokenizer->named_children();
  auto* encoder = children["encoder"]->as<ViTImpl>();
  auto* layer = children["encode_task_layer"]->as<torch::nn::SequentialImpl>();
  const torch::NoGradGuard no_grad;
  torch::Tensor tokens_BND;
  Quantized under_autocast;
  {
    const CpuAutocast autocast(torch::kBFloat16);
    tokens_BND = encoder->patch_tokens(normalise(data.images_BCHW, InputForm::kDefault));
    under_autocast = tokenizer->encode(data.images_BCHW);
  }
  const auto expected = tokenizer->quantizer()->forward(layer->forward(tokens_BND.to(torch::kFloat32)));
  CHECK(torch::equal(under_autocast.ids_BN, expected.ids_BN));
  CHECK(torch::equal(under_autocast.codes_BND, expected.codes_BND));
  CHECK(torch::equal(under_autocast.loss, expected.loss));

  Quantizer quantizer(QuantizerOptions{.codes = 512, .width = 8, .kmeans_start = false});
  quantizer->eval();
  const auto features_BND = torch::randn({8, 200, 8});
  const auto ids_BN = quantizer->forward(features_BND).ids_BN;
  const CpuAutocast autocast(torch::kBFloat16);
  CHECK(torch::equal(quantizer->forward(features_BND).ids_BN, ids_BN));
}

TEST_CASE("autocast: losses are computed in float32 from logits of fewer bits") {
  torch::manual_seed(83);
  const auto features_MD = torch::randn({50, 16}), weight_VD = torch::randn({64, 16}), bias_V = torch::randn({64});
  const auto targets_M = torch::randint(64, {50}, torch::kInt64);
  const CpuAutocast autocast(torch::kBFloat16);
  const auto logits_MV = torch::linear(features_MD, weight_VD, bias_V);
  REQUIRE((logits_MV.scalar_type() == torch::kBFloat16));
  const auto expected = torch::cross_entropy_loss(logits_MV.to(torch::kFloat32), targets_M);
  CHECK(torch::equal(linear_cross_entropy(features_MD, weight_VD, bias_V, targets_M).loss, expected));
  CHECK((at_least_float32(logits_MV).scalar_type() == torch::kFloat32));
  CHECK((at_least_float32(torch::ones({1}, torch::kFloat64)).scalar_type() == torch::kFloat64));
}

TEST_CASE("autocast: attention adds a trained bias in float32") {
  torch::manual_seed(84);
  const auto v_BTD = torch::randn({1, 5, 8}).to(torch::kBFloat16), zero_BTD = torch::zeros_like(v_BTD);
  const auto bias_HTT = (100 + 0.3 * torch::randn({2, 5, 5})).requires_grad_();  // bf16 would keep its halves alone
  const auto v_BHTd = v_BTD.to(torch::kFloat32).unflatten(2, {2, 4}).transpose(1, 2);
  const auto expected = bias_HTT.softmax(-1).matmul(v_BHTd).transpose(1, 2).flatten(2);
  const CpuAutocast autocast(torch::kBFloat16);
  const auto found = attend({zero_BTD, zero_BTD, v_BTD}, 2, bias_HTT);
  CHECK((found.scalar_type() == torch::kBFloat16));
  CHECK(relative_difference(found, expected) < 0.02);
}

}  // namespace
}  // namespace beit

// Initial values of the three kinds of network, drawn at a width at which a standard deviation is known to a percent.
#include "core/init.h"

#include <cmath>
#include <regex>

#include "base/error.h"
#include "core/attentive_probe.h"
#include "core/classifier.h"
#include "core/mim.h"
#include "core/segmenter.h"
#include "core/tokenizer.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

// Of a normal with std 0.02 that is cut at one std: sqrt(1 - 2 phi(1) / (2 Phi(1) - 1)) = 0.5396 times 0.02.
constexpr double kStd = 0.02, kStdOfCut = 0.0107917;

const ViTOptions kWide{.grid = {8, 8}, .patch_size = 8, .width = 192, .depth = 2, .heads = 3};

double std_of(const torch::Tensor& tensor) { return tensor.std().item<double>(); }

/// Normal, or cut at one std. A deviation from n numbers is off by about 1 / sqrt(2 n); 5 times that is allowed.
void check_normal(const torch::Tensor& tensor, bool cut, double divided_by = 1) {
  const double std = (cut ? kStdOfCut : kStd) / divided_by;
  const double slack = 5 / std::sqrt(2.0 * static_cast<double>(tensor.numel()));
  CHECK(std::abs(std_of(tensor) / std - 1) < slack);
  CHECK(std::abs(tensor.mean().item<double>()) < 5 * std / std::sqrt(static_cast<double>(tensor.numel())));
  const double largest = tensor.abs().max().item<double>();
  CHECK(largest <= (cut ? kStd / divided_by * (1 + 1e-6) : 6.5 * std));
  if (tensor.numel() > 1000) CHECK(largest > (cut ? 0.98 * kStd / divided_by : 2.5 * std));
}

/// Every tensor of a backbone's blocks. `first` is the number of block 0, from 1, by which its weights are rescaled.
void check_blocks(const TensorMap& tensors, const std::string& prefix, bool cut, int first) {
  const std::regex block(prefix + R"((\d+)\.(.*))");
  std::smatch match;
  int seen = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!std::regex_match(name, match, block) || name.ends_with("index")) continue;
    CAPTURE(name);
    const std::string member = match[2];
    ++seen;
    if (member == "attn.proj.weight" || member == "mlp.fc2.weight") {
      check_normal(tensor, cut, std::sqrt(2.0 * (std::stoi(match[1]) + first)));
    } else if (member == "attn.qkv.weight" || member == "mlp.fc1.weight") {
      check_normal(tensor, cut);
    } else if (member.starts_with("norm") && member.ends_with("weight")) {
      CHECK(torch::equal(tensor, torch::ones_like(tensor)));
    } else if (member.starts_with("gamma")) {
      CHECK(torch::equal(tensor, torch::full_like(tensor, 0.1)));
    } else {  // biases and bias tables
      CHECK(torch::equal(tensor, torch::zeros_like(tensor)));
    }
  }
  CHECK(seen >= 2 * 13);
}

/// PyTorch's default: weight and bias uniform in +-1/sqrt(fan in).
void check_default_convolution(const TensorMap& tensors, const std::string& prefix, double fan_in) {
  const double edge = 1 / std::sqrt(fan_in);
  for (const std::string member : {"weight", "bias"}) {
    const auto& tensor = tensors.at(prefix + member);
    CAPTURE(prefix + member);
    CHECK(tensor.abs().max().item<double>() <= edge);
    CHECK(tensor.abs().max().item<double>() > 0.9 * edge);
    CHECK(std_of(tensor) == doctest::Approx(edge / std::sqrt(3.0)).epsilon(0.15));
  }
}

TEST_CASE("init: the pre-training model, cut at one std, the convolution too, the CLS branch numbered on") {
  torch::manual_seed(31);
  ViTOptions vit = kWide;
  vit.layer_scale = 0.1;
  vit.relative_position = RelPos::kShared;
  MaskedImageModel mim(MimOptions{.vit = vit, .codes = 300, .early_layers = 1, .head_layers = 2, .shared_head = false});
  const auto tensors = state_dict(*mim);
  check_blocks(tensors, R"(blocks\.)", true, 1);
  check_blocks(tensors, R"(cls_pt_layers\.)", true, 2);
  for (const std::string name :
       {"patch_embed.proj.weight", "lm_head.weight", "cls_pt_lm_head.weight", "cls_token", "mask_token", "pos_embed"}) {
    CAPTURE(name);
    check_normal(tensors.at(name), true);
  }
  for (const std::string name : {"patch_embed.proj.bias", "lm_head.bias", "cls_pt_lm_head.bias", "norm.bias",
                                 "rel_pos_bias.relative_position_bias_table"}) {
    CAPTURE(name);
    CHECK(torch::equal(tensors.at(name), torch::zeros_like(tensors.at(name))));
  }
}

TEST_CASE("init: the tokenizer, not cut, PyTorch's default for its convolutions") {
  torch::manual_seed(32);
  TokenizerOptions options{.encoder = kWide,
                           .decoder_width = 192,
                           .decoder_depth = 2,
                           .decoder_heads = 3,
                           .quantizer = {.codes = 64, .width = 32},
                           .target_width = 200};
  Tokenizer tokenizer(options);
  const auto tensors = state_dict(*tokenizer);
  check_blocks(tensors, R"(encoder\.blocks\.)", false, 1);
  check_blocks(tensors, R"(decoder\.blocks\.)", false, 1);
  for (const std::string name : {"encode_task_layer.0.weight", "encode_task_layer.2.weight",
                                 "decode_task_layer.0.weight", "decode_task_layer.2.weight", "encoder.cls_token",
                                 "encoder.pos_embed", "decoder.cls_token", "decoder.pos_embed"}) {
    CAPTURE(name);
    check_normal(tensors.at(name), false);
  }
  for (const std::string name : {"encode_task_layer.0.bias", "decode_task_layer.2.bias"}) {
    CHECK(torch::equal(tensors.at(name), torch::zeros_like(tensors.at(name))));
  }
  check_default_convolution(tensors, "encoder.patch_embed.proj.", 3 * 8 * 8);
  check_default_convolution(tensors, "decoder.patch_embed.proj.", 32);
}

TEST_CASE("init: the classifier, its head a thousandth") {
  torch::manual_seed(33);
  ViTOptions vit = kWide;
  vit.layer_scale = 0.1;
  vit.absolute_position = false;
  vit.relative_position = RelPos::kBlock;
  Classifier classifier(ClassifierOptions{.vit = vit, .classes = 100});
  const auto tensors = state_dict(*classifier);
  check_blocks(tensors, R"(blocks\.)", false, 1);
  check_default_convolution(tensors, "patch_embed.proj.", 3 * 8 * 8);
  check_normal(tensors.at("cls_token"), false);
  check_normal(tensors.at("head.weight") * 1000, false);
  CHECK(torch::equal(tensors.at("head.bias"), torch::zeros(100)));
}

TEST_CASE("init: no weight stands at the far cut, however many are drawn") {
  torch::manual_seed(34);
  const auto tensor = torch::empty({int64_t{1} << 25});
  trunc_normal_(tensor, 0.02, 2.0);
  CHECK(tensor.abs().max().item<double>() < 0.02 * 6);
}

TEST_CASE("init: the same seed draws the same network") {
  const auto draw = [](uint64_t seed) {
    torch::manual_seed(seed);
    return state_dict(*Classifier(ClassifierOptions{.vit = kWide, .classes = 4})).at("blocks.1.mlp.fc1.weight").clone();
  };
  CHECK(torch::equal(draw(1), draw(1)));
  CHECK(!torch::equal(draw(1), draw(2)));
}

TEST_CASE("init: networks without initial values draw nothing, and those after them what they always draw") {
  const ClassifierOptions options{.vit = kWide, .classes = 4};
  torch::manual_seed(35);
  const auto expected = state_dict(*Classifier(options));
  torch::manual_seed(35);
  without_initial_values(
      [] { return Tokenizer(TokenizerOptions{.encoder = kWide, .quantizer = {.codes = 64, .kmeans_start = false}}); });
  without_initial_values([] { return MaskedImageModel(MimOptions{.vit = kWide, .codes = 8, .early_layers = 1}); });
  without_initial_values([] { return Segmenter(SegmenterOptions{.vit = kWide, .classes = 2, .channels = 8}); });
  without_initial_values([&] { return Classifier(options); });
  without_initial_values([&] { return AttentiveProbe(12, 3, 2); });
  ViTOptions no_blocks = kWide;
  no_blocks.depth = 0;
  CHECK_THROWS_AS(without_initial_values([&] { return ViT(no_blocks, FinalNorm::kNone); }), Error);
  const auto found = state_dict(*Classifier(options));
  for (const auto& [name, tensor] : expected) {
    CAPTURE(name);
    CHECK(torch::equal(found.at(name), tensor));
  }
}

}  // namespace
}  // namespace beit

// Shape letters besides: M = 3 D, h heads, d width of a head, F width that a layer gives, C width of a code, K codes or
// classes.
#include "train/onnx_export.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "base/error.h"
#include "core/normalise.h"
#include "core/rel_pos.h"
#include "io/weights.h"

namespace beit {
namespace {

using Ints = std::vector<int64_t>;

torch::Tensor ints(const Ints& values) { return torch::tensor(values); }

/// The nodes of a network around a vision transformer. Constants and nodes are named as the module's parameters and
/// parts, `prefix` standing before those of the transformer.
class NetworkNodes {
 public:
  NetworkNodes(OnnxGraph& graph, const torch::nn::Module& network, const ViTOptions& vit, std::string prefix = "")
      : graph_(graph), weights_(state_dict(network)), vit_(vit), prefix_(std::move(prefix)) {
    graph_.describe("grid", fmt::format("{}x{}", vit.grid.rows, vit.grid.columns));
  }

  bool has(const std::string& name) const { return weights_.contains(name); }
  const torch::Tensor& weight(const std::string& name) const { return weights_.at(name); }

  /// Takes the images and makes tokens of them, [B, T, D].
  std::string tokens(InputForm form) {
    const Grid& grid = vit_.grid;
    const int64_t p = vit_.patch_size;
    const auto images = graph_.input({.name = "images",
                                      .shape = {OnnxGraph::kBatch, vit_.channels, grid.rows * p, grid.columns * p},
                                      .help = "red, green and blue in [0, 1]"});
    const std::string at = prefix_ + "patch_embed";
    const auto map = graph_.node("Conv", at + ".proj",
                                 {standardised(images, form), own(at + ".proj.weight"), own(at + ".proj.bias")},
                                 {{"kernel_shape", Ints{p, p}}, {"strides", Ints{p, p}}});
    const auto rows_BDN =
        graph_.node("Reshape", at + ".rows", {map, shared("patches_shape", ints({0, vit_.width, grid.patches()}))});
    const auto patches_BND = graph_.node("Transpose", at, {rows_BDN}, {{"perm", Ints{0, 2, 1}}});
    // A row of zeros in front, to which the CLS token comes with the positions: nothing asks for the number of images.
    const auto padded_BTD =
        graph_.node("Pad", prefix_ + "padded", {patches_BND, shared("cls_padding", ints({0, 1, 0, 0, 0, 0}))});
    auto positions_1TD = vit_.absolute_position ? weight(prefix_ + "pos_embed").clone()
                                                : torch::zeros({1, grid.patches() + 1, vit_.width});
    positions_1TD.select(1, 0).add_(weight(prefix_ + "cls_token").select(1, 0));
    return graph_.node("Add", prefix_ + "embedded",
                       {padded_BTD, graph_.constant(prefix_ + "cls_and_positions", positions_1TD)});
  }

  /// Block `number`, counted from 1 and called in that order.
  std::string block(const std::string& x_BTD, int64_t number) {
    const std::string at = fmt::format("{}blocks.{}", prefix_, number - 1);
    const auto attended = attention(at + ".attn", layer_norm(at + ".norm1", x_BTD), at + ".gamma_1");
    const auto y_BTD = graph_.node("Add", at + ".attended", {x_BTD, attended});
    const auto hidden =
        gelu(at + ".mlp.act", linear(at + ".mlp.fc1", at + ".mlp.fc1", layer_norm(at + ".norm2", y_BTD)));
    return graph_.node("Add", at, {y_BTD, linear(at + ".mlp.fc2", at + ".mlp.fc2", hidden, at + ".gamma_2")});
  }

  std::string layer_norm(const std::string& name, const std::string& x) {
    constexpr float kEpsilon = 1e-6F;  // of core/block.h
    return graph_.node("LayerNormalization", name, {x, own(name + ".weight"), own(name + ".bias")},
                       {{"axis", -1}, {"epsilon", kEpsilon}});
  }

  /// The layer called `layer`, times the weight called `scale` where there is one.
  std::string linear(const std::string& name, const std::string& layer, const std::string& x,
                     const std::string& scale = "") {
    auto weight_FD = weight(layer + ".weight"), bias_F = weight(layer + ".bias");
    if (has(scale)) {
      weight_FD = weight_FD * weight(scale).unsqueeze(1);
      bias_F = bias_F * weight(scale);
    }
    return affine(name, layer, x, weight_FD, bias_F);
  }

  /// Of tokens [B, T, D] what `pooling` says (train/feature_set.h), under the name AT.POOLING.
  std::string pooled(const std::string& at, const std::string& x_BTD, const std::string& pooling) {
    const std::string name = at + "." + pooling;
    if (graph_.has(name)) return name;
    if (pooling == "tokens") return graph_.node("Identity", name, {x_BTD});
    if (pooling == "patches") {
      return graph_.node(
          "Slice", name,
          {x_BTD, shared("patches_begin", ints({1})),
           shared("patches_end", ints({std::numeric_limits<int64_t>::max()})), shared("patches_axis", ints({1}))});
    }
    if (pooling == "cls") {
      return graph_.node("Gather", name, {x_BTD, shared("cls_index", torch::zeros({}, torch::kInt64))}, {{"axis", 1}});
    }
    if (pooling == "mean") {
      return graph_.node("ReduceMean", name, {pooled(at, x_BTD, "patches")}, {{"axes", Ints{1}}, {"keepdims", 0}});
    }
    require(pooling == "both", "onnx: expected pooling mean, cls, both, tokens or patches, got '{}'", pooling);
    const auto cls_BD = pooled(at, x_BTD, "cls"), mean_BD = pooled(at, x_BTD, "mean");
    return graph_.node("Concat", name, {cls_BD, mean_BD}, {{"axis", 1}});
  }

  /// A constant that several nodes may take.
  std::string shared(const std::string& name, const torch::Tensor& values) {
    return graph_.has(name) ? name : graph_.constant(name, values);
  }

 private:
  /// A parameter as it is.
  std::string own(const std::string& name) { return graph_.constant(name, weight(name)); }

  std::string standardised(const std::string& images, InputForm form) {
    const auto channels = [](const std::array<float, 3>& values) {
      return torch::tensor(at::ArrayRef<float>(values)).view({1, 3, 1, 1});
    };
    if (form == InputForm::kDefault) {
      const auto doubled = graph_.node("Mul", "images.doubled", {images, shared("two", torch::full({}, 2.0F))});
      return graph_.node("Sub", "images.standardised", {doubled, shared("one", torch::full({}, 1.0F))});
    }
    const auto centred =
        graph_.node("Sub", "images.centred", {images, graph_.constant("images.mean", channels(kImagenetMean))});
    return graph_.node("Div", "images.standardised",
                       {centred, graph_.constant("images.deviation", channels(kImagenetStd))});
  }

  /// x W^T + b, b where it is defined; the weights are stored under the layer's name.
  std::string affine(const std::string& name, const std::string& layer, const std::string& x,
                     const torch::Tensor& weight_FD, const torch::Tensor& bias_F) {
    const auto weight_DF = graph_.constant(layer + ".weight", weight_FD.t());
    if (!bias_F.defined()) return graph_.node("MatMul", name, {x, weight_DF});
    const auto product = graph_.node("MatMul", layer + ".product", {x, weight_DF});
    return graph_.node("Add", name, {product, graph_.constant(layer + ".bias", bias_F)});
  }

  /// Exact; in the steps that runtimes know to be a GELU.
  std::string gelu(const std::string& at, const std::string& x) {
    const auto root = shared("root_of_two", torch::full({}, std::numbers::sqrt2_v<float>));
    const auto erf = graph_.node("Erf", at + ".erf", {graph_.node("Div", at + ".scaled", {x, root})});
    const auto sum = graph_.node("Add", at + ".sum", {erf, shared("one", torch::full({}, 1.0F))});
    return graph_.node("Mul", at,
                       {graph_.node("Mul", at + ".doubled", {x, sum}), shared("half", torch::full({}, 0.5F))});
  }

  /// The bias [h, T, T] of the table AT.relative_position_bias_table. It is looked up in the graph, not stored:
  /// runtimes do that once, at loading, and large images would make it a hundred times the table.
  std::string position_bias(const std::string& at) {
    const auto index_TT = shared("relative_position_index", relative_position_index(vit_.grid));
    const auto bias_TTh = graph_.node("Gather", at + ".relative_position_rows",
                                      {own(at + ".relative_position_bias_table"), index_TT}, {{"axis", 0}});
    return graph_.node("Transpose", at + ".relative_position_bias", {bias_TTh}, {{"perm", Ints{2, 0, 1}}});
  }

  /// The bias that a block's scores get; none without relative positions.
  std::string bias_of(const std::string& at) {
    if (vit_.relative_position == RelPos::kBlock) return position_bias(at);
    if (vit_.relative_position == RelPos::kNone) return "";
    const std::string all = prefix_ + "rel_pos_bias";
    return graph_.has(all + ".relative_position_bias") ? all + ".relative_position_bias" : position_bias(all);
  }

  std::string attention(const std::string& at, const std::string& x_BTD, const std::string& scale) {
    const auto qkv_MD = weight(at + ".qkv.weight").chunk(3);
    const int64_t width_of_head = vit_.width / vit_.heads;
    const double shrink = 1.0 / std::sqrt(static_cast<double>(width_of_head));
    const auto by_head = [&](const std::string& name, const std::string& y_BTD, const Ints& order) {
      const auto shape = shared("heads_shape", ints({0, 0, vit_.heads, width_of_head}));
      return graph_.node("Transpose", name + ".by_head", {graph_.node("Reshape", name + ".heads", {y_BTD, shape})},
                         {{"perm", order}});
    };
    const std::string q = at + ".q", k = at + ".k", v = at + ".v";
    const auto q_BhTd =
        by_head(q, affine(q, q, x_BTD, qkv_MD[0] * shrink, weight(at + ".q_bias") * shrink), {0, 2, 1, 3});
    const auto k_BhdT = by_head(k, affine(k, k, x_BTD, qkv_MD[1], {}), {0, 2, 3, 1});
    const auto v_BhTd = by_head(v, affine(v, v, x_BTD, qkv_MD[2], weight(at + ".v_bias")), {0, 2, 1, 3});
    auto scores_BhTT = graph_.node("MatMul", at + ".scores", {q_BhTd, k_BhdT});
    const auto bias_hTT = bias_of(at);
    if (!bias_hTT.empty()) scores_BhTT = graph_.node("Add", at + ".biased", {scores_BhTT, bias_hTT});
    const auto weights_BhTT = graph_.node("Softmax", at + ".weights", {scores_BhTT}, {{"axis", -1}});
    const auto y_BhTd = graph_.node("MatMul", at + ".mixed", {weights_BhTT, v_BhTd});
    const auto y_BThd = graph_.node("Transpose", at + ".by_token", {y_BhTd}, {{"perm", Ints{0, 2, 1, 3}}});
    const auto y_BTD =
        graph_.node("Reshape", at + ".joined", {y_BThd, shared("tokens_shape", ints({0, 0, vit_.width}))});
    return linear(at + ".proj", at + ".proj", y_BTD, scale);
  }

  OnnxGraph& graph_;
  const TensorMap weights_;
  const ViTOptions vit_;
  const std::string prefix_;
};

/// Tokens after the last of `depth` blocks.
std::string through_blocks(NetworkNodes& nodes, InputForm form, int64_t depth) {
  auto x_BTD = nodes.tokens(form);
  for (int64_t number = 1; number <= depth; ++number) x_BTD = nodes.block(x_BTD, number);
  return x_BTD;
}

Ints feature_shape(const FeatureSet& set, const ViTOptions& vit) {
  constexpr int64_t kBatch = OnnxGraph::kBatch;
  const int64_t patches = vit.grid.patches();
  if (set.pooling == "tokens") return {kBatch, patches + 1, vit.width};
  if (set.pooling == "patches") return {kBatch, patches, vit.width};
  return {kBatch, set.pooling == "both" ? 2 * vit.width : vit.width};
}

std::string feature_help(const FeatureSet& set, bool normed) {
  const std::string what = set.pooling == "tokens"    ? "CLS and patch tokens"
                           : set.pooling == "patches" ? "patch tokens"
                           : set.pooling == "cls"     ? "CLS token"
                           : set.pooling == "mean"    ? "mean of the patch tokens"
                                                      : "CLS token, then the mean of the patch tokens";
  return fmt::format("{} after block {}{}", what, set.layer, normed ? " and the last norm" : "");
}

}  // namespace

OnnxGraph onnx_features(const LoadedBackbone& backbone, const std::vector<FeatureSet>& sets, bool final_norm) {
  const torch::NoGradGuard no_grad;
  require_norm(backbone, final_norm);
  const ViTOptions& vit = backbone.model->options();
  require(!sets.empty() && std::ranges::all_of(
                               sets, [&](const FeatureSet& set) { return set.layer >= 1 && set.layer <= vit.depth; }),
          "onnx: expected features of layers between 1 and {}", vit.depth);
  OnnxGraph graph;
  NetworkNodes nodes(graph, *backbone.model, vit);
  const int64_t last = std::ranges::max_element(sets, {}, &FeatureSet::layer)->layer;
  auto x_BTD = nodes.tokens(backbone.input);
  for (int64_t number = 1; number <= last; ++number) {
    x_BTD = nodes.block(x_BTD, number);
    const bool normed = final_norm && number == vit.depth;
    if (normed) x_BTD = nodes.layer_norm(nodes.has("norm.weight") ? "norm" : "fc_norm", x_BTD);
    for (const FeatureSet& set : sets) {
      if (set.layer == number) nodes.pooled(fmt::format("layer{}", number), x_BTD, set.pooling);
    }
  }
  for (const FeatureSet& set : sets) {
    graph.output({.name = set.name(),
                  .shape = feature_shape(set, vit),
                  .help = feature_help(set, final_norm && set.layer == vit.depth)});
  }
  return graph;
}

OnnxGraph onnx_classifier(const LoadedClassifier& classifier, bool probabilities) {
  const torch::NoGradGuard no_grad;
  const ViTOptions& vit = classifier.model->options();
  const bool mean = classifier.model->pooling() == Pooling::kMean;
  OnnxGraph graph;
  NetworkNodes nodes(graph, *classifier.model, vit);
  const auto x_BTD = through_blocks(nodes, InputForm::kImagenetNorm, vit.depth);
  const auto pooled_BD = nodes.pooled("last", x_BTD, mean ? "mean" : "cls");
  const auto logits_BK = nodes.linear("logits", "head", nodes.layer_norm(mean ? "fc_norm" : "norm", pooled_BD));
  OnnxValue output{
      .name = logits_BK, .shape = {OnnxGraph::kBatch, classifier.model->classes()}, .help = "a score for each class"};
  if (probabilities) {
    output.name = graph.node("Softmax", "probabilities", {logits_BK}, {{"axis", -1}});
    output.help = "a probability for each class";
  }
  graph.output(output);
  if (!classifier.class_names.empty()) {
    const auto [key, names] = class_metadata(classifier.class_names);
    graph.describe(key, names);
  }
  return graph;
}

OnnxGraph onnx_codes(const LoadedTokenizer& tokenizer) {
  const torch::NoGradGuard no_grad;
  const TokenizerOptions& options = tokenizer.model->options();
  OnnxGraph graph;
  NetworkNodes nodes(graph, *tokenizer.model, options.encoder, "encoder.");
  const auto x_BTD = through_blocks(nodes, options.input, options.encoder.depth);
  const auto patches_BND = nodes.layer_norm("encoder.fc_norm", nodes.pooled("encoder.last", x_BTD, "patches"));
  const auto hidden = nodes.linear("encode_task_layer.0", "encode_task_layer.0", patches_BND);
  const auto vectors_BNC =
      nodes.linear("encode_task_layer.2", "encode_task_layer.2", graph.node("Tanh", "encode_task_layer.1", {hidden}));
  // As core/quantizer.cpp: unit vectors, and of the codes, whose length need not be one, the least |w|^2 / 2 - w z.
  const auto length_BN1 =
      graph.node("ReduceL2", "vectors.length", {vectors_BNC}, {{"axes", Ints{-1}}, {"keepdims", 1}});
  const auto above_zero =
      graph.node("Max", "vectors.above_zero", {length_BN1, graph.constant("least_length", torch::full({}, 1e-12F))});
  const auto unit_BNC = graph.node("Div", "vectors.unit", {vectors_BNC, above_zero});
  const auto& codes_KC = nodes.weight("quantize.embedding.weight");
  const auto products_BNK =
      graph.node("MatMul", "quantize.products", {unit_BNC, graph.constant("quantize.embedding.weight", codes_KC.t())});
  const auto scores_BNK =
      graph.node("Sub", "quantize.scores",
                 {products_BNK, graph.constant("quantize.half_squares", codes_KC.square().sum(1) * 0.5)});
  graph.node("ArgMax", "codes", {scores_BNK}, {{"axis", -1}, {"keepdims", 0}, {"select_last_index", 0}});
  graph.output({.name = "codes",
                .type = torch::kInt64,
                .shape = {OnnxGraph::kBatch, options.encoder.grid.patches()},
                .help = fmt::format("of each patch, row by row, its code, from 0 to {}", codes_KC.size(0) - 1)});
  return graph;
}

}  // namespace beit

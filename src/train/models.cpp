#include "train/models.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/log.h"
#include "core/init.h"
#include "io/weights.h"

namespace beit {
namespace {

ViTOptions vit_options(const ModelOptions& model) {
  return {.grid = grid_of(model),
          .patch_size = model.patch_size,
          .width = model.width,
          .depth = model.depth,
          .heads = model.heads,
          .drop_path = model.drop_path};
}

NetworkFile open(const std::filesystem::path& path, const LoadOptions& options, Network wanted) {
  NetworkFile file = open_network(path, options);
  require(file.network == wanted, "{}: expected {}, got {}; `beit inspect` shows what a file holds", path.string(),
          readable(wanted), readable(file.network));
  return file;
}

/// The module that `empty` makes of the file, with the tensors in it, ready for use.
template <class Empty>
auto filled(const Empty& empty, const TensorMap& tensors, const NetworkFile& file) {
  auto module = without_initial_values([&] { return empty(file); });
  const LoadReport report = load_state_dict_strict(*module, tensors, file.path);
  module->eval();
  for (const std::string& name : report.non_finite)
    log().warn("{}: {} holds values that are not finite", file.path, name);
  for (const std::string& assumed : file.assumed) log().info("{}: assumed {}", file.path, assumed);
  return module;
}

InputForm input_form(const CodebookOptions& codebook) {
  return codebook.input_form == "imagenet_norm" ? InputForm::kImagenetNorm : InputForm::kDefault;
}

bool has_norm(const TensorMap& backbone) {
  return backbone.contains("norm.weight") || backbone.contains("fc_norm.weight");
}

/// The tensors of the backbone alone, under its own names; with a final norm at its initial values where it has none.
TensorMap backbone_tensors(const NetworkFile& file) {
  TensorMap backbone = tensors_under(file.tensors, file.prefix());
  std::erase_if(backbone, [](const auto& entry) {
    const std::string& name = entry.first;
    return name == "mask_token" || name.starts_with("lm_head.") || name.starts_with("cls_pt_") ||
           name.starts_with("head.") || name.starts_with("fpn");
  });
  if (!has_norm(backbone)) {
    for (const auto& [name, tensor] : state_dict(*layer_norm(file.vit.width))) backbone.emplace("norm." + name, tensor);
  }
  return backbone;
}

Tokenizer empty_tokenizer(const NetworkFile& file) {
  TokenizerOptions options = tokenizer_options(file.model, file.codebook, file.target_width);
  options.encoder = file.vit;
  options.decoder_width = file.decoder_width;
  options.decoder_heads = file.decoder_heads;
  return Tokenizer(options);
}

MaskedImageModel empty_mim(const NetworkFile& file) {
  MimOptions options = mim_options(file.model, file.mim, file.codes);
  options.vit = file.vit;
  return MaskedImageModel(options);
}

Classifier empty_classifier(const NetworkFile& file) {
  return Classifier(ClassifierOptions{.vit = file.vit, .classes = file.classes, .pooling = file.pooling()});
}

Segmenter empty_segmenter(const NetworkFile& file) {
  require(file.classes > 0,
          "{}: expected the heads of UPerNet and its auxiliary FCN, got others; beit has no such network, but its "
          "backbone can be a start",
          file.path);
  return Segmenter(segmenter_options(file.vit, file.segmenter, file.classes));
}

PixelDecoder empty_pixel_decoder(const NetworkFile& file) {
  return PixelDecoder(
      PixelDecoderOptions{.vit = file.vit, .codes = file.codebook.codes, .code_width = file.codebook.code_dim});
}

ViT empty_backbone(const NetworkFile& file) { return ViT(file.vit, file.final_norm); }

std::shared_ptr<torch::nn::Module> empty_network(const NetworkFile& file) {
  switch (file.network) {
    case Network::kTokenizer: return empty_tokenizer(file).ptr();
    case Network::kPretrained: return empty_mim(file).ptr();
    case Network::kClassifier: return empty_classifier(file).ptr();
    case Network::kDecoder: return empty_pixel_decoder(file).ptr();
    case Network::kSegmenter:
      if (file.classes > 0) return empty_segmenter(file).ptr();
      [[fallthrough]];  // heads of another kind: its backbone
    default: return empty_backbone(file).ptr();
  }
}

/// What empty_network() takes.
TensorMap whole_tensors(const NetworkFile& file) {
  const bool headless =
      file.network == Network::kBackbone || (file.network == Network::kSegmenter && file.classes == 0);
  return headless ? backbone_tensors(file) : file.tensors;
}

/// The options are those that the file cannot do without. They are read back before anything is written, so that what
/// contradicts the network is refused. `trained`: JSON of options that may hold others, which stay. `metadata`: more of
/// the file's own.
void write_network(const std::filesystem::path& path, const torch::nn::Module& network, const OptionList& options,
                   const std::map<std::string, std::string>& metadata = {}, const std::string& trained = {}) {
  auto config = nlohmann::ordered_json::parse(trained, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) config = nlohmann::ordered_json::object();
  config.update(nlohmann::ordered_json::parse(to_json(options)));
  const auto text = config.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  TensorFile file{.tensors = state_dict(network), .metadata = {{"format", "beit"}, {"config", text}}};
  file.metadata.insert(metadata.begin(), metadata.end());
  require(
      mismatches(as_network(file, path.string())).complete(),
      "{}: expected a network as its options describe it, got other tensors; give the options that it was made with",
      path.string());
  write_safetensors(path, file.tensors, file.metadata);
}

std::map<std::string, std::string> of_tokenizer(const std::string& identity) {
  if (identity.empty()) return {};
  return {{"tokenizer", identity}};
}

std::map<std::string, std::string> named_classes(const std::vector<std::string>& names) {
  if (names.empty()) return {};
  return {class_metadata(names)};
}

}  // namespace

TokenizerOptions tokenizer_options(const ModelOptions& given, const CodebookOptions& codebook, int64_t target_width) {
  ModelOptions model = given;
  resolve(model);
  const ViTOptions encoder = vit_options(model);
  return {.encoder = encoder,
          .decoder_width = encoder.width,
          .decoder_depth = codebook.decoder_depth,
          .decoder_heads = encoder.heads,
          .quantizer = {.codes = codebook.codes,
                        .width = codebook.code_dim,
                        .decay = codebook.code_decay,
                        .beta = codebook.beta,
                        .kmeans_start = codebook.kmeans_start,
                        .revive_threshold = codebook.revive_threshold,
                        .revive_every = codebook.revive_every},
          .target_width = target_width,
          .input = input_form(codebook)};
}

MimOptions mim_options(const ModelOptions& given, const MimChoice& given_choice, int64_t codes) {
  ModelOptions model = given;
  resolve(model);
  MimChoice choice = given_choice;
  resolve(choice, model);
  ViTOptions vit = vit_options(model);
  vit.layer_scale = choice.layer_scale;
  vit.absolute_position = false;
  vit.relative_position = RelPos::kShared;
  return {.vit = vit,
          .codes = codes,
          .cls_branch = choice.cls_branch,
          .early_layers = choice.early_layers,
          .head_layers = choice.head_layers,
          .shared_head = choice.shared_head};
}

SegmenterOptions segmenter_options(const ViTOptions& backbone, const SegmenterChoice& choice, int64_t classes) {
  return {.vit = backbone,
          .classes = classes,
          .channels = choice.channels > 0 ? choice.channels : backbone.width,
          .auxiliary_channels = choice.auxiliary_channels,
          .dropout = choice.dropout};
}

PixelDecoderOptions pixel_decoder_options(const DecoderChoice& given, const ModelOptions& tokenizer,
                                          const CodebookOptions& codebook) {
  DecoderChoice choice = given;
  resolve(choice);
  return {.vit = {.grid = grid_of(tokenizer),
                  .patch_size = tokenizer.patch_size,
                  .width = choice.width,
                  .depth = choice.depth,
                  .heads = choice.heads},
          .codes = codebook.codes,
          .code_width = codebook.code_dim};
}

std::string tokenizer_identity(const Tokenizer& tokenizer) {
  const TokenizerOptions& options = tokenizer->options();
  Fingerprint print;
  print.add(options.input == InputForm::kImagenetNorm ? "imagenet_norm" : "default");
  print.add(std::to_string(options.encoder.heads));
  for (const auto& [name, tensor] : state_dict(*tokenizer)) {
    const bool gives_codes =
        name.starts_with("encoder.") || name.starts_with("encode_task_layer.") || name == "quantize.embedding.weight";
    const bool positions = name == "encoder.pos_embed" || name.ends_with("relative_position_bias_table");
    if (!gives_codes || positions) continue;
    const auto values = tensor.to(torch::kCPU).contiguous();
    print.add(name);
    print.add(std::span(static_cast<const uint8_t*>(values.const_data_ptr()), values.nbytes()));
  }
  return fmt::format("{} codes of width {} ({:016x})", options.quantizer.codes, options.quantizer.width, print.value());
}

LoadedTokenizer load_tokenizer(const std::filesystem::path& path, const LoadOptions& load) {
  const NetworkFile file = open(path, load, Network::kTokenizer);
  return {filled(empty_tokenizer, file.tensors, file), file.model, file.codebook};
}

LoadedMim load_mim(const std::filesystem::path& path, const LoadOptions& load) {
  const NetworkFile file = open(path, load, Network::kPretrained);
  return {filled(empty_mim, file.tensors, file), file.model, file.mim, file.codes, file.tokenizer};
}

LoadedClassifier load_classifier(const std::filesystem::path& path, const LoadOptions& load) {
  const NetworkFile file = open(path, load, Network::kClassifier);
  return {filled(empty_classifier, file.tensors, file), file.model, file.classes, file.class_names};
}

LoadedSegmenter load_segmenter(const std::filesystem::path& path, const LoadOptions& load) {
  const NetworkFile file = open(path, load, Network::kSegmenter);
  return {filled(empty_segmenter, file.tensors, file),
          file.model,
          file.segmenter,
          file.classes,
          file.class_names,
          file.config};
}

LoadedPixelDecoder load_pixel_decoder(const std::filesystem::path& path) {
  const NetworkFile file = open(path, {}, Network::kDecoder);
  return {filled(empty_pixel_decoder, file.tensors, file), file.decoder, file.tokenizer};
}

LoadedBackbone load_backbone(const std::filesystem::path& path, const LoadOptions& load) {
  NetworkFile file = open_network(path, load);
  require(is_ours(file.network),
          "{}: expected a network with a backbone, got {}; `beit inspect` shows what a file holds", path.string(),
          readable(file.network));
  if (file.network == Network::kSegmenter) file.assumed.emplace_back(kFreshNorm);
  LoadedBackbone loaded{filled(empty_backbone, backbone_tensors(file), file), file.model};
  if (file.network == Network::kTokenizer) loaded.input = input_form(file.codebook);
  loaded.has_norm = has_norm(tensors_under(file.tensors, file.prefix()));
  return loaded;
}

void require_norm(const LoadedBackbone& backbone, bool final_norm) {
  require(!final_norm || backbone.has_norm,
          "final-norm: expected a network that has a last norm, got one without, as a segmentation's is; leave "
          "--final-norm out");
}

std::shared_ptr<torch::nn::Module> whole_network(const NetworkFile& file) {
  return filled(empty_network, whole_tensors(file), file);
}

LoadReport mismatches(const NetworkFile& file) {
  const auto network = without_initial_values([&] { return empty_network(file); });
  return load_state_dict(*network, whole_tensors(file));
}

LoadedBackbone random_backbone(const ModelOptions& model, const MimChoice& choice) {
  LoadedBackbone loaded{.options = model};
  resolve(loaded.options);
  MaskedImageModel whole(mim_options(loaded.options, choice, /*codes=*/1));
  loaded.model = ViT(std::shared_ptr<ViTImpl>(whole.ptr()));
  loaded.model->eval();
  return loaded;
}

void save(const std::filesystem::path& path, const LoadedTokenizer& tokenizer) {
  ModelOptions options = tokenizer.options;
  CodebookOptions codebook = tokenizer.codebook;
  write_network(path, *tokenizer.model, join({describe(options), describe(codebook)}));
}

void save(const std::filesystem::path& path, const LoadedMim& mim) {
  ModelOptions options = mim.options;
  MimChoice choice = mim.choice;
  write_network(path, *mim.model, join({describe(options), describe(choice)}), of_tokenizer(mim.tokenizer));
}

void save(const std::filesystem::path& path, const LoadedClassifier& classifier) {
  ModelOptions options = classifier.options;
  write_network(path, *classifier.model, describe(options), named_classes(classifier.class_names));
}

void save(const std::filesystem::path& path, const LoadedSegmenter& segmenter) {
  ModelOptions options = segmenter.options;
  SegmenterChoice choice = segmenter.choice;
  write_network(path, *segmenter.model, join({describe(options), describe(choice)}),
                named_classes(segmenter.class_names), segmenter.config);
}

void save(const std::filesystem::path& path, const LoadedPixelDecoder& decoder) {
  DecoderChoice choice = decoder.choice;
  write_network(path, *decoder.model, describe(choice), of_tokenizer(decoder.tokenizer));
}

void save(const std::filesystem::path& path, const LoadedBackbone& backbone) {
  require(backbone.input == InputForm::kImagenetNorm,
          "{}: expected a backbone that takes ImageNet's mean and deviation, got a tokenizer's encoder, which takes "
          "2 x - 1; save the tokenizer",
          path.string());
  ModelOptions options = backbone.options;
  write_network(path, *backbone.model, describe(options));
}

}  // namespace beit

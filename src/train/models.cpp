#include "train/models.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "io/weights.h"

namespace beit {
namespace {

constexpr std::string_view kTokenizer = "a tokenizer", kPretrained = "a pre-trained model";

ViTOptions vit_options(const ModelOptions& model) {
  return {.grid = grid_of(model),
          .patch_size = model.patch_size,
          .width = model.width,
          .depth = model.depth,
          .heads = model.heads,
          .drop_path = model.drop_path};
}

const std::string& config_of(const TensorFile& file, const std::filesystem::path& path) {
  const auto config = file.metadata.find("config");
  require(config != file.metadata.end(),
          "{}: expected a file of ours with its configuration, got {} without; name a run or its model.safetensors",
          path.string(), content(file));
  return config->second;
}

const torch::Tensor& tensor(const TensorFile& file, const std::string& name, int64_t dimensions,
                            const std::filesystem::path& path) {
  const auto found = file.tensors.find(name);
  require(found != file.tensors.end() && found->second.dim() == dimensions,
          "{}: expected tensor {} of {} dimensions, got {}", path.string(), name, dimensions,
          found == file.tensors.end() ? "none" : "another shape");
  return found->second;
}

LoadedTokenizer tokenizer_options_of(const TensorFile& file, const std::filesystem::path& path) {
  LoadedTokenizer loaded;
  from_json(join({describe(loaded.options), describe(loaded.codebook)}), config_of(file, path), path.string());
  resolve(loaded.options);
  return loaded;
}

/// All but what pre-training adds to the backbone.
TensorMap backbone_tensors(const TensorMap& tensors) {
  TensorMap backbone = tensors;
  std::erase_if(backbone, [](const auto& entry) {
    const std::string& name = entry.first;
    return name == "mask_token" || name.starts_with("lm_head.") || name.starts_with("cls_pt_");
  });
  return backbone;
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
          .input = codebook.input_form == "imagenet_norm" ? InputForm::kImagenetNorm : InputForm::kDefault};
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

std::string content(const TensorFile& file) {
  const auto& [tensors, metadata, order] = file;
  const auto command = metadata.contains("command") ? metadata.at("command") : std::string();
  const auto holds = [&, &tensors = tensors](const char* name) { return tensors.contains(name); };
  std::string what = "tensors of an unknown model";
  if (command == "vqkd" || holds("quantize.embedding.weight")) {
    what = kTokenizer;
  } else if (command == "pretrain" || holds("lm_head.weight")) {
    what = kPretrained;
  } else if (command == "tokenize") {
    what = "codes of images";
  } else if (holds("head.weight") && holds("cls_token")) {
    what = "a classifier";
  }
  return metadata.contains("step") ? "a checkpoint of " + what : what;
}

LoadedTokenizer load_tokenizer(const std::filesystem::path& path) {
  const TensorFile file = read_weights(path);
  require(content(file) == kTokenizer, "{}: expected {}, got {}; name a run of `beit vqkd` or its model.safetensors",
          path.string(), kTokenizer, content(file));
  LoadedTokenizer loaded = tokenizer_options_of(file, path);
  const int64_t target_width = tensor(file, "decode_task_layer.2.weight", 2, path).size(0);
  loaded.model = Tokenizer(tokenizer_options(loaded.options, loaded.codebook, target_width));
  load_state_dict_strict(*loaded.model, file.tensors, path.string());
  loaded.model->eval();
  return loaded;
}

LoadedBackbone load_backbone(const std::filesystem::path& path) {
  const TensorFile file = read_weights(path);
  const std::string what = content(file);
  require(what == kPretrained || what == kTokenizer,
          "{}: expected {} or {}, got {}; name a run of `beit pretrain` or its model.safetensors", path.string(),
          kPretrained, kTokenizer, what);
  LoadedBackbone loaded;
  if (what == kTokenizer) {
    const LoadedTokenizer tokenizer = tokenizer_options_of(file, path);
    const TokenizerOptions options = tokenizer_options(tokenizer.options, tokenizer.codebook, /*target_width=*/1);
    loaded = {ViT(options.encoder, FinalNorm::kPatches), tokenizer.options, options.input};
    load_state_dict_strict(*loaded.model, tensors_under(file.tensors, "encoder."), path.string());
  } else {
    MimChoice choice;
    from_json(join({describe(loaded.options), describe(choice)}), config_of(file, path), path.string());
    resolve(loaded.options);
    loaded.model = ViT(mim_options(loaded.options, choice, /*codes=*/1).vit, FinalNorm::kTokens);
    load_state_dict_strict(*loaded.model, backbone_tensors(file.tensors), path.string());
  }
  loaded.model->eval();
  return loaded;
}

LoadedBackbone random_backbone(const ModelOptions& model, const MimChoice& choice) {
  LoadedBackbone loaded{.options = model};
  resolve(loaded.options);
  MaskedImageModel whole(mim_options(loaded.options, choice, /*codes=*/1));
  loaded.model = ViT(std::shared_ptr<ViTImpl>(whole.ptr()));
  loaded.model->eval();
  return loaded;
}

}  // namespace beit

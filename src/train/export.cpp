#include "train/export.h"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "core/normalise.h"
#include "core/rel_pos.h"
#include "io/name_map.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

void require_backbone(const NetworkFile& file, std::string_view library) {
  require(file.network != Network::kTokenizer && file.network != Network::kSegmenter,
          "{}: expected a pre-trained model, a classifier or a backbone, got {}, for which {} has no class; use --to "
          "reference or safetensors",
          file.path, readable(file.network), library);
  require(file.tensors.contains("norm.weight") || file.tensors.contains("fc_norm.weight"),
          "{}: expected a network with a final norm, as {} has, got one without; use --to reference or safetensors",
          file.path, library);
}

/// Takes out the tensors whose names start so, and says it.
void leave_out(Exported& exported, std::initializer_list<std::string_view> starts) {
  for (const std::string_view start : starts) {
    const auto removed = std::erase_if(exported.tensors, [&](const auto& e) { return e.first.starts_with(start); });
    if (removed > 0) exported.left_out.push_back(fmt::format("{}{}", start, start.ends_with('.') ? "*" : ""));
  }
}

void leave_out_cls_branch(Exported& exported) {
  leave_out(exported, {"cls_pt_layers.", "cls_pt_norm.", "cls_pt_lm_head."});
}

bool is_half(const TensorMap& tensors) {
  return !tensors.empty() && tensors.begin()->second.scalar_type() == torch::kHalf;
}

Json timm_config(const NetworkFile& file) {
  const ViTOptions& vit = file.vit;
  const std::array size{file.model.image_size, file.model.image_size};
  // A model without classes keeps its `norm` only with the pooling that has it.
  const bool mean = file.final_norm == FinalNorm::kPatches;
  const std::string pooling = mean ? "avg" : "token";
  return {{"architecture", file.model.model == "large" ? "beitv2_large_patch16_224" : "beitv2_base_patch16_224"},
          {"num_classes", file.classes},
          {"num_features", vit.width},
          {"global_pool", pooling},
          {"model_args",
           {{"img_size", size},
            {"patch_size", vit.patch_size},
            {"in_chans", vit.channels},
            {"embed_dim", vit.width},
            {"depth", vit.depth},
            {"num_heads", vit.heads},
            {"mlp_ratio", vit.mlp_ratio},
            {"init_values", vit.layer_scale > 0 ? Json(vit.layer_scale) : Json(nullptr)},
            {"use_abs_pos_emb", vit.absolute_position},
            {"use_rel_pos_bias", vit.relative_position == RelPos::kBlock},
            {"use_shared_rel_pos_bias", vit.relative_position == RelPos::kShared},
            {"global_pool", pooling},
            {"num_classes", file.classes}}},
          {"pretrained_cfg",
           {{"custom_load", false},
            {"input_size", {vit.channels, size[0], size[1]}},
            {"fixed_input_size", true},
            {"interpolation", "bicubic"},
            {"crop_pct", size[0] < 384 ? 0.875 : 1.0},
            {"crop_mode", "center"},
            {"mean", kImagenetMean},
            {"std", kImagenetStd},
            {"num_classes", file.classes},
            {"pool_size", nullptr},
            {"first_conv", "patch_embed.proj"},
            {"classifier", "head"}}}};
}

Json hugging_face_config(const NetworkFile& file, bool half) {
  const ViTOptions& vit = file.vit;
  const bool pretrained = file.network == Network::kPretrained;
  Json config{{"model_type", "beit"},
              {"architectures",
               {pretrained                             ? "BeitForMaskedImageModeling"
                : file.network == Network::kClassifier ? "BeitForImageClassification"
                                                       : "BeitModel"}},
              {"hidden_size", vit.width},
              {"num_hidden_layers", vit.depth},
              {"num_attention_heads", vit.heads},
              {"intermediate_size", vit.hidden()},
              {"image_size", file.model.image_size},
              {"patch_size", vit.patch_size},
              {"num_channels", vit.channels},
              {"hidden_act", "gelu"},
              {"layer_norm_eps", 1e-6},
              {"use_mask_token", file.tensors.contains("mask_token")},
              {"use_absolute_position_embeddings", vit.absolute_position},
              {"use_relative_position_bias", vit.relative_position == RelPos::kBlock},
              {"use_shared_relative_position_bias", vit.relative_position == RelPos::kShared},
              {"layer_scale_init_value", vit.layer_scale},
              // A masked-image model with a pooling of its own would have two norms.
              {"use_mean_pooling", pretrained || file.final_norm == FinalNorm::kPatches},
              {"vocab_size", pretrained ? file.codes : 8192},
              {"drop_path_rate", vit.drop_path},
              {"hidden_dropout_prob", 0.0},
              {"attention_probs_dropout_prob", 0.0},
              {"initializer_range", 0.02},
              {"dtype", half ? "float16" : "float32"},
              {"torch_dtype", half ? "float16" : "float32"}};
  if (file.network == Network::kClassifier) {
    for (int64_t i = 0; i < file.classes; ++i) {
      const std::string label =
          file.class_names.empty() ? fmt::format("LABEL_{}", i) : file.class_names[static_cast<size_t>(i)];
      config["id2label"][std::to_string(i)] = label;
      config["label2id"][label] = i;
    }
  }
  return config;
}

}  // namespace

Exported export_own(const NetworkFile& given) {
  NetworkFile file = given;
  OptionList options = describe(file.model);
  if (file.network == Network::kTokenizer) options = join({options, describe(file.codebook)});
  if (file.network == Network::kPretrained) options = join({options, describe(file.mim)});
  if (file.network == Network::kSegmenter) options = join({options, describe(file.segmenter)});
  Exported exported{.tensors = file.tensors,
                    .metadata = {{"format", "beit"}, {"command", "convert"}, {"config", to_json(options)}}};
  if (!file.class_names.empty()) exported.metadata.insert(class_metadata(file.class_names));
  return exported;
}

Exported export_reference(const NetworkFile& file) {
  Exported exported{.tensors = file.tensors, .metadata = {{"format", "pt"}}};
  if (!file.class_names.empty()) exported.left_out.emplace_back("names of classes");
  const auto index_TT = relative_position_index(file.vit.grid);
  constexpr std::string_view kTable = "relative_position_bias_table", kIndex = "relative_position_index";
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.ends_with(kTable)) continue;
    exported.tensors.emplace(fmt::format("{}{}", name.substr(0, name.size() - kTable.size()), kIndex), index_TT);
  }
  return exported;
}

Exported export_timm(const NetworkFile& file) {
  require_backbone(file, "timm");
  Exported exported{.tensors = file.tensors, .metadata = {{"format", "pt"}}};
  leave_out(exported, {"mask_token", "lm_head."});
  leave_out_cls_branch(exported);
  if (!file.class_names.empty()) exported.left_out.emplace_back("names of classes");
  exported.config_json = timm_config(file).dump(2) + "\n";
  return exported;
}

Exported export_hugging_face(const NetworkFile& file) {
  require_backbone(file, "transformers");
  const bool pretrained = file.network == Network::kPretrained;
  require(
      !pretrained || file.final_norm == FinalNorm::kTokens,
      "{}: expected a pre-trained model with `norm` over all tokens, got one with `fc_norm`, for which transformers "
      "has no class; use --to safetensors",
      file.path);
  Exported exported{.tensors = file.tensors, .metadata = {{"format", "pt"}}};
  leave_out_cls_branch(exported);
  exported.tensors = hugging_face_names(exported.tensors, file.network == Network::kBackbone ? "" : "beit.",
                                        pretrained                           ? "layernorm."
                                        : file.network == Network::kBackbone ? "layernorm."
                                                                             : "beit.layernorm.");
  exported.config_json = hugging_face_config(file, is_half(file.tensors)).dump(2) + "\n";
  return exported;
}

void halve(NetworkFile& file) {
  for (auto& [name, tensor] : file.tensors) {
    if (!tensor.is_floating_point()) continue;
    const auto half = tensor.to(torch::kHalf);
    // Of 8 bits none is too large, and they know no isfinite().
    require(tensor.element_size() == 1 || !half.isinf().logical_and(tensor.isfinite()).any().item<bool>(),
            "{}: {}: expected values within float16's range, got larger ones; leave --half out", file.path, name);
    tensor = half;
  }
}

}  // namespace beit

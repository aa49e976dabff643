#include "train/backbone_start.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "core/normalise.h"
#include "core/weights_regrid.h"
#include "io/weights.h"
#include "train/models.h"

namespace beit {
namespace {

bool is_backbone(std::string_view name) {
  return name == "cls_token" || name == "pos_embed" || name.starts_with("patch_embed.") || name.starts_with("blocks.");
}

bool is_final_norm(std::string_view name) { return name.starts_with("norm.") || name.starts_with("fc_norm."); }

void require_sizes(const ModelOptions& wanted, const ModelOptions& file, const std::string& path) {
  for (const auto& [flag, size, own] :
       {std::tuple("width", wanted.width, file.width), std::tuple("depth", wanted.depth, file.depth),
        std::tuple("heads", wanted.heads, file.heads), std::tuple("patch-size", wanted.patch_size, file.patch_size)}) {
    require(size == 0 || size == own,
            "{}: expected its {} of {}, got {}; leave out --{}{}, on the command line or in the recipe", path, flag,
            own, size, flag, wanted.model.empty() ? "" : " and --model");
  }
}

/// A convolution that sees 2 x - 1, for the same images in ImageNet's mean and deviation.
void rewrite_for_imagenet_norm(TensorMap& backbone) {
  const auto channels = [](const std::array<float, 3>& values) {
    return torch::tensor(at::ArrayRef<float>(values), torch::kFloat64).view({1, 3, 1, 1});
  };
  const auto found = backbone.find("patch_embed.proj.bias");
  if (found == backbone.end()) return;  // an Error soon
  torch::Tensor &weight = backbone.at("patch_embed.proj.weight"), &bias = found->second;
  const auto exact = weight.to(torch::kFloat64);
  bias = (bias + (exact * (2 * channels(kImagenetMean) - 1)).sum({1, 2, 3})).to(torch::kFloat32);
  weight = (exact * 2 * channels(kImagenetStd)).to(torch::kFloat32);
}

/// What of a file is for the backbone whose tensors are `own`.
TensorMap tensors_for(const TensorMap& own, const NetworkFile& file) {
  TensorMap backbone = tensors_under(file.tensors, file.prefix());
  copy_shared_bias_to_blocks(backbone, file.vit.depth);
  const bool tokenizer = file.network == Network::kTokenizer;
  if (tokenizer && file.codebook.input_form != "imagenet_norm") rewrite_for_imagenet_norm(backbone);
  std::erase_if(backbone, [&](const auto& entry) {
    const std::string& name = entry.first;
    return !is_backbone(name) && !(is_final_norm(name) && own.contains(name) && !tokenizer);
  });
  return backbone;
}

}  // namespace

BackboneStart open_start(const StartOptions& start, ModelOptions& model) {
  BackboneStart found;
  if (start.weights.empty()) {
    if (model.model.empty()) model.model = "base";
    resolve(model);
    found.vit = mim_options(model, {.cls_branch = false, .layer_scale = start.layer_scale}, /*codes=*/1).vit;
  } else {
    ModelOptions wanted = model;
    if (!wanted.model.empty()) resolve(wanted);
    found.file = open_network(start.weights, {.image_size = model.image_size, .heads = model.heads});
    require(is_ours(found.file->network),
            "{}: expected a network with a backbone, got {}; `beit inspect` shows what a file holds", start.weights,
            readable(found.file->network));
    require_sizes(wanted, found.file->model, start.weights);
    const double drop_path = model.drop_path;
    model = found.file->model;
    model.drop_path = drop_path;
    found.vit = found.file->vit;
    found.vit.drop_path = drop_path;
  }
  if (found.vit.relative_position == RelPos::kShared) found.vit.relative_position = RelPos::kBlock;
  return found;
}

void warn_of_layer_decay(const StartOptions& start) {
  if (!start.weights.empty() || start.layer_decay >= 1) return;
  log().warn("no --weights: the first blocks start from scratch, at a learning rate lowered by --layer-decay {:g}",
             start.layer_decay);
}

void start_from(torch::nn::Module& network, std::string_view prefix, const NetworkFile& file) {
  const TensorMap own = tensors_under(state_dict(network), prefix);
  const TensorMap backbone = tensors_for(own, file);
  std::vector<std::string> alone;
  for (const auto& [name, tensor] : own) {
    if (is_backbone(name) && !name.ends_with("relative_position_index") && !backbone.contains(name))
      alone.push_back(name + " is missing");
  }
  TensorMap named;
  for (const auto& [name, tensor] : backbone) named.emplace(std::string(prefix) + name, tensor);
  const LoadReport report = load_state_dict(network, named);
  for (const auto* list : {&report.unexpected, &report.wrong_shape, &report.wrong_dtype})
    alone.insert(alone.end(), list->begin(), list->end());
  require(alone.empty(),
          "{}: expected the backbone of this model, got {} tensors that do not fit, the first: {}; use the file of the "
          "same model and sizes",
          file.path, alone.size(), alone.empty() ? "" : alone.front());
  log().info("{}: the backbone of {} is the start", file.path, readable(file.network));
  for (const std::string& name : report.non_finite)
    log().warn("{}: {} holds values that are not finite", file.path, name);
  for (const std::string& assumed : file.assumed) log().info("{}: assumed {}", file.path, assumed);
}

}  // namespace beit

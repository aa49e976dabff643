#include "train/network_file.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "core/tower_weights.h"
#include "core/weights_regrid.h"
#include "io/mapped_file.h"
#include "io/name_map.h"

namespace beit {
namespace {

constexpr const char* kPatches = "patch_embed.proj.weight";
constexpr const char* kCodebook = "quantize.embedding.weight";
constexpr const char* kPixels = "decode_pixels.weight";
constexpr const char* kTable = "relative_position_bias_table";
constexpr int64_t kMostSide = 64;  // patches of a grid's side: pairs of patches are held as a matrix

/// The tensors of one network, and what the errors about them start with.
class Shapes {
 public:
  Shapes(const TensorMap& tensors, std::string where) : tensors_(tensors), where_(std::move(where)) {}

  bool has(const std::string& name) const { return tensors_.contains(name); }

  const torch::Tensor& get(const std::string& name, int64_t dimensions) const {
    const auto found = tensors_.find(name);
    require(found != tensors_.end() && found->second.dim() == dimensions && found->second.numel() > 0,
            "{}: expected tensor {} of {} dimensions, got {}; the file is incomplete or another network's", where_,
            name, dimensions, found == tensors_.end() ? "none" : "another shape");
    return found->second;
  }

  int64_t blocks(std::string_view list) const { return count_blocks(tensors_, list, where_); }
  const std::string& where() const { return where_; }

 private:
  const TensorMap& tensors_;
  std::string where_;
};

// What a network is built from must be as large as the network: no small file makes a large one.

void check_shape(const Shapes& shapes, const std::string& name, torch::IntArrayRef sizes) {
  const auto& tensor = shapes.get(name, std::ssize(sizes));
  require(tensor.sizes() == sizes, "{}: {}: expected [{}], got [{}]; the file is another network's", shapes.where(),
          name, fmt::join(sizes, ", "), fmt::join(tensor.sizes(), ", "));
}

/// Returns how many blocks there are.
int64_t check_blocks(const Shapes& shapes, const std::string& list, int64_t width, int64_t hidden) {
  const int64_t depth = shapes.blocks(list);
  for (int64_t i = 0; i < depth; ++i) {
    check_shape(shapes, fmt::format("{}{}.attn.qkv.weight", list, i), {3 * width, width});
    check_shape(shapes, fmt::format("{}{}.mlp.fc1.weight", list, i), {hidden, width});
  }
  return depth;
}

/// Tensors of a file may share storages; a network's do not.
void check_storages(const TensorMap& tensors, const std::string& where) {
  constexpr uint64_t kShared = uint64_t{64} << 20;
  std::map<const void*, uint64_t> storages;
  uint64_t bytes = 0, held = 0;
  for (const auto& [name, tensor] : tensors) {
    bytes += tensor.nbytes();
    storages[tensor.storage().data()] = tensor.storage().nbytes();
  }
  for (const auto& [start, size] : storages) held += size;
  require(bytes <= held + kShared,
          "{}: expected tensors of their own, got {} bytes of tensors in {} bytes; the file is "
          "damaged: fetch or save it again",
          where, bytes, held);
}

Network network_of(const TensorMap& tensors, const std::string& command) {
  const auto holds = [&](const char* name) { return tensors.contains(name); };
  const bool has_backbone = holds(kPatches) && holds("blocks.0.attn.qkv.weight");
  if (holds(kCodebook) && holds("encoder.patch_embed.proj.weight")) return Network::kTokenizer;
  if (holds(kCodebook) && holds(kPixels)) return Network::kDecoder;
  if (holds("backbone.blocks.0.attn.qkv.bias")) return Network::kDino;
  if (holds("backbone.patch_embed.proj.weight")) return Network::kSegmenter;
  if (has_backbone && holds("lm_head.weight")) return Network::kPretrained;
  if (has_backbone && holds("blocks.0.attn.qkv.bias")) return Network::kDino;
  if (has_backbone && holds("head.weight")) return Network::kClassifier;
  if (has_backbone) return Network::kBackbone;
  if (holds("visual.class_embedding") || holds("class_embedding")) return Network::kClip;
  return command == "tokenize" && holds("codes") ? Network::kCodes : Network::kUnknown;
}

/// The side of a square grid whose bias table has so many rows; 0 where there is none.
int64_t side_of_table(int64_t rows) {
  const auto span = std::llround(std::sqrt(static_cast<double>(std::max<int64_t>(rows - 3, 0))));
  return span % 2 == 1 && span * span == rows - 3 ? (span + 1) / 2 : 0;
}

Grid grid_of_shapes(const Shapes& shapes, const ViTOptions& vit, const std::string& table) {
  const bool by_table = vit.relative_position != RelPos::kNone;
  const int64_t rows = by_table ? shapes.get(table, 2).size(0) : shapes.get("pos_embed", 3).size(1);
  const int64_t side = by_table ? side_of_table(rows) : std::llround(std::sqrt(static_cast<double>(rows - 1)));
  require(side > 0 && side <= kMostSide && (by_table || side * side == rows - 1),
          "{}: expected positions of CLS and a square grid of up to {} x {} patches, got {} rows; the file is another "
          "network's",
          shapes.where(), kMostSide, kMostSide, rows);
  return {.rows = side, .columns = side};
}

/// What the file's configuration states; zeros where it does not.
struct Stated {
  std::optional<std::string> config;  ///< ours
  ModelOptions model{.image_size = 0};
};

/// The first of `names` that the object has: a positive number, or a list of them; 0 where it has none.
int64_t positive(const nlohmann::json& object, std::initializer_list<const char*> names, std::string_view where) {
  for (const char* name : names) {
    const auto found = object.find(name);
    if (found == object.end()) continue;
    const nlohmann::json& value = found->is_array() && !found->empty() ? found->front() : *found;
    require(value.is_number_integer() && value.get<int64_t>() > 0,
            "{}: config.json: expected {} as a positive number, got {:.40}; mend it or take the file out", where, name,
            value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return value.get<int64_t>();
  }
  return 0;
}

/// The configuration in a file of ours.
std::optional<std::string> own_config(const TensorFile& file) {
  const auto format = file.metadata.find("format"), config = file.metadata.find("config");
  if (format == file.metadata.end() || format->second != "beit" || config == file.metadata.end()) return std::nullopt;
  return config->second;
}

Stated stated_by(const TensorFile& file, const std::string& where) {
  Stated stated;
  stated.config = own_config(file);
  if (stated.config) {
    from_json(describe(stated.model), *stated.config, where);
    resolve(stated.model);
  } else {
    const LibraryConfig config = library_config(file, where);
    require(config.activation.empty() || config.activation == "gelu",
            "{}: config.json: expected hidden_act gelu, got {}; beit has no such network", where,
            printable(config.activation));
    require(config.norm_eps <= 1e-5, "{}: config.json: expected layer_norm_eps of at most 1e-5, got {}; beit has 1e-6",
            where, config.norm_eps);
    stated.model.width = config.width;
    stated.model.depth = config.depth;
    stated.model.heads = config.heads;
    stated.model.image_size = config.image_size;
    stated.model.patch_size = config.patch_size;
  }
  return stated;
}

int64_t heads_of(const Shapes& shapes, const ViTOptions& vit, const std::string& table, const Stated& stated,
                 int64_t wanted, NetworkFile& file) {
  const bool by_table = vit.relative_position != RelPos::kNone;
  if (by_table || stated.model.heads > 0) {
    const int64_t heads = by_table ? shapes.get(table, 2).size(1) : stated.model.heads;
    require(wanted == 0 || wanted == heads, "{}: expected the file's {} heads, got --heads {}; leave it out",
            shapes.where(), heads, wanted);
    return heads;
  }
  if (wanted > 0) return wanted;
  const bool published = vit.width == 544 || vit.width == 1280;
  require(published || vit.width % 64 == 0,
          "{}: expected heads, got a width of {} that is no multiple of 64 and nothing that tells; set --heads",
          shapes.where(), vit.width);
  const int64_t heads = tower_heads(vit.width, 0, shapes.where());
  file.assumed.push_back(fmt::format("{} head{}, {}", heads, heads == 1 ? "" : "s",
                                     published ? "as published at this width" : "the width over 64"));
  return heads;
}

void derive_vit(NetworkFile& file, const Shapes& shapes, const Stated& stated, const LoadOptions& options) {
  ViTOptions& vit = file.vit;
  const auto& patches = shapes.get(kPatches, 4);
  vit.width = patches.size(0);
  vit.channels = patches.size(1);
  vit.patch_size = patches.size(2);
  require(patches.size(3) == vit.patch_size && vit.channels == 3,
          "{}: expected square patches of 3 channels, got {} of [{}]; beit has no such network", shapes.where(),
          kPatches, fmt::join(patches.sizes(), ", "));
  const int64_t hidden = shapes.get("blocks.0.mlp.fc1.weight", 2).size(0);
  vit.depth = check_blocks(shapes, "blocks.", vit.width, hidden);
  vit.mlp_ratio = static_cast<double>(hidden) / static_cast<double>(vit.width);
  vit.layer_scale = shapes.has("blocks.0.gamma_1") ? 0.1 : 0.0;
  vit.absolute_position = shapes.has("pos_embed");
  const std::string shared = fmt::format("rel_pos_bias.{}", kTable), own = fmt::format("blocks.0.attn.{}", kTable);
  vit.relative_position = shapes.has(own) ? RelPos::kBlock : shapes.has(shared) ? RelPos::kShared : RelPos::kNone;
  const std::string& table = vit.relative_position == RelPos::kBlock ? own : shared;
  if (vit.relative_position != RelPos::kNone || vit.absolute_position) {
    vit.grid = grid_of_shapes(shapes, vit, table);
  } else {
    const int64_t told = stated.model.image_size > 0 ? stated.model.image_size : options.image_size;
    if (told == 0) file.assumed.push_back("images of 224 pixels");
    const int64_t size = told > 0 ? told : 224;
    vit.grid = {.rows = size / vit.patch_size, .columns = size / vit.patch_size};
  }
  const int64_t image_size = vit.grid.rows * vit.patch_size;
  vit.heads = heads_of(shapes, vit, table, stated, options.heads, file);
  const ModelOptions& said = stated.model;
  for (const auto& [what, there, here] :
       {std::tuple("width", said.width, vit.width), std::tuple("depth", said.depth, vit.depth),
        std::tuple("heads", said.heads, vit.heads), std::tuple("patch size", said.patch_size, vit.patch_size),
        std::tuple("image size", said.image_size, image_size)}) {
    require(there == 0 || there == here,
            "{}: expected tensors of the {} that its configuration states, {}, got {}; use the file of the same model "
            "and sizes",
            file.path, what, there, here);
  }
  require(vit.width % vit.heads == 0, "{}: expected heads that divide the width, got {} heads at width {}; set --heads",
          shapes.where(), vit.heads, vit.width);

  file.model = {.model = named_size(vit.width, vit.depth, vit.heads),
                .width = vit.width,
                .depth = vit.depth,
                .heads = vit.heads,
                .image_size = image_size,
                .patch_size = vit.patch_size,
                .drop_path = stated.model.drop_path};
  vit.drop_path = file.model.drop_path;
  resolve(file.model);

  file.final_norm = shapes.has("fc_norm.weight") ? FinalNorm::kPatches : FinalNorm::kTokens;
  if (file.network != Network::kSegmenter && !shapes.has("fc_norm.weight") && !shapes.has("norm.weight")) {
    file.assumed.emplace_back(kFreshNorm);
  }
}

void resize(NetworkFile& file, int64_t image_size) try {
  file.model.image_size = image_size;
  resolve(file.model);
  resize_to_grid(file.tensors, file.vit.grid, grid_of(file.model));
  file.vit.grid = grid_of(file.model);
} catch (const Error& error) {
  fail("{}: {}", file.path, error.what());
}

void derive_tokenizer(NetworkFile& file, const Stated& stated, const LoadOptions& options) {
  const Shapes shapes(file.tensors, file.path);
  if (stated.config) from_json(describe(file.codebook), *stated.config, file.path);
  const auto& codes = shapes.get(kCodebook, 2);
  file.codebook.codes = codes.size(0);
  file.codebook.code_dim = codes.size(1);
  file.decoder_width = shapes.get("decoder.patch_embed.proj.weight", 4).size(0);
  check_shape(shapes, "decoder.patch_embed.proj.weight", {file.decoder_width, file.codebook.code_dim, 1, 1});
  ViTOptions decoder = file.vit;  // of the encoder's proportions
  decoder.width = file.decoder_width;
  file.codebook.decoder_depth = check_blocks(shapes, "decoder.blocks.", decoder.width, decoder.hidden());
  file.decoder_heads = file.decoder_width == file.vit.width
                           ? file.vit.heads
                           : tower_heads(file.decoder_width, 0, file.path + ": decoder");
  file.target_width = shapes.get("decode_task_layer.2.weight", 2).size(0);
  check_shape(shapes, "decode_task_layer.2.weight", {file.target_width, file.decoder_width});
  require(options.input_form.empty() || !stated.config || options.input_form == file.codebook.input_form,
          "{}: expected the file's input form, {}, got --input-form {}; leave it out", file.path,
          file.codebook.input_form, options.input_form);
  if (!options.input_form.empty()) {
    file.codebook.input_form = options.input_form;
  } else if (!stated.config) {
    file.assumed.push_back("input form default (2x-1)");
  }

  // The published code keeps these beside the codes only where usage is counted.
  const auto add = [&](const char* name, const torch::Tensor& value) {
    if (file.tensors.emplace(name, value).second) file.assumed.push_back(fmt::format("{}, which the file lacks", name));
  };
  const auto zeros_K = torch::zeros({file.codebook.codes});
  add("quantize.cluster_size", zeros_K);
  add("quantize.embedding.cluster_size", zeros_K);
  add("quantize.embedding.embed_avg", codes);
  add("quantize.embedding.initted", torch::ones({1}));
}

/// Whose codes the network is of; empty where the file does not tell.
std::string tokenizer_of(const TensorFile& file) {
  const auto entry = file.metadata.find("tokenizer");
  return entry == file.metadata.end() ? "" : entry->second;
}

void derive_decoder(NetworkFile& file, const TensorFile& given) {
  const TensorMap inner = tensors_under(file.tensors, "decoder.");
  const Shapes shapes(file.tensors, file.path), tower(inner, file.path + ": decoder");
  file.config = own_config(given).value_or("");
  DecoderChoice& choice = file.decoder;
  if (!file.config.empty()) from_json(describe(choice), file.config, file.path);
  const auto& codes_KC = shapes.get(kCodebook, 2);
  file.codebook.codes = codes_KC.size(0);
  file.codebook.code_dim = codes_KC.size(1);
  ViTOptions& vit = file.vit;
  vit.width = tower.get(kPatches, 4).size(0);
  check_shape(tower, kPatches, {vit.width, file.codebook.code_dim, 1, 1});
  const int64_t hidden = tower.get("blocks.0.mlp.fc1.weight", 2).size(0);
  vit.depth = check_blocks(tower, "blocks.", vit.width, hidden);
  vit.mlp_ratio = static_cast<double>(hidden) / static_cast<double>(vit.width);
  vit.grid = grid_of_shapes(tower, vit, /*table=*/"");
  const int64_t values = shapes.get(kPixels, 2).size(0);
  vit.patch_size = std::llround(std::sqrt(static_cast<double>(values) / 3));
  require(3 * vit.patch_size * vit.patch_size == values,
          "{}: {}: expected the pixels of a square patch in 3 channels, got {} values; the file is damaged", file.path,
          kPixels, values);
  check_shape(shapes, kPixels, {values, vit.width});
  const bool stated = !file.config.empty() && choice.heads > 0;
  vit.heads = stated ? choice.heads : tower_heads(vit.width, 0, tower.where());
  if (!stated) {
    file.assumed.push_back(fmt::format("{} head{}, the width over 64", vit.heads, vit.heads == 1 ? "" : "s"));
  }
  require(vit.width % vit.heads == 0,
          "{}: expected heads that divide the width, got {} heads at width {}; the file is damaged", file.path,
          vit.heads, vit.width);
  choice.image_size = vit.grid.rows * vit.patch_size;
  choice.width = vit.width;
  choice.depth = vit.depth;
  choice.heads = vit.heads;
  resolve(choice);
  file.tokenizer = tokenizer_of(given);
  file.form = "beit's own";
}

void derive_pretrained(NetworkFile& file, const TensorFile& given, const Stated& stated) {
  const Shapes shapes(file.tensors, file.path);
  file.codes = shapes.get("lm_head.weight", 2).size(0);
  file.tokenizer = tokenizer_of(given);
  check_shape(shapes, "lm_head.weight", {file.codes, file.vit.width});
  MimChoice& mim = file.mim;
  if (stated.config) from_json(describe(mim), *stated.config, file.path);
  mim.layer_scale = file.vit.layer_scale > 0 && stated.config ? mim.layer_scale : file.vit.layer_scale;
  mim.cls_branch = shapes.has("cls_pt_layers.0.norm1.weight");
  if (mim.cls_branch) mim.head_layers = check_blocks(shapes, "cls_pt_layers.", file.vit.width, file.vit.hidden());
  mim.shared_head = !shapes.has("cls_pt_lm_head.weight");
  const bool stated_layer = mim.early_layers > 0;
  if (file.model.image_size != stated.model.image_size) mim.masked_patches = 0;  // follows from the grid
  resolve(mim, file.model);
  if (mim.cls_branch && !stated_layer) {
    file.assumed.push_back(fmt::format("a CLS branch that takes its patches after block {}", mim.early_layers));
  }
}

constexpr const char* kClasses = "classes";

/// Of a Hugging Face folder's config.json; none unless it names each output by more than its number.
std::vector<std::string> labels_of(const TensorFile& given, int64_t classes) {
  const auto text = given.metadata.find("config.json");
  if (text == given.metadata.end()) return {};
  const auto json = nlohmann::json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  const auto labels = json.is_object() ? json.find("id2label") : json.end();
  if (labels == json.end() || !labels->is_object() || std::ssize(*labels) != classes) return {};
  std::vector<std::string> names;
  for (int64_t i = 0; i < classes; ++i) {
    const auto label = labels->find(std::to_string(i));
    if (label == labels->end() || !label->is_string() || *label == fmt::format("LABEL_{}", i)) return {};
    names.push_back(label->get<std::string>());
  }
  return names;
}

std::vector<std::string> class_names_of(const TensorFile& given, int64_t classes, const std::string& where) {
  const auto text = given.metadata.find(kClasses);
  if (text == given.metadata.end()) return labels_of(given, classes);
  const auto json = nlohmann::json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  require(json.is_array() && std::ranges::all_of(json, [](const auto& name) { return name.is_string(); }) &&
              std::ssize(json) == classes,
          "{}: expected the names of {} classes as a JSON array, got {:.60}; the file is damaged", where, classes,
          printable(text->second));
  return json.get<std::vector<std::string>>();
}

void derive_classifier(NetworkFile& file) {
  const Shapes shapes(file.tensors, file.path);
  file.classes = shapes.get("head.weight", 2).size(0);
  check_shape(shapes, "head.weight", {file.classes, file.vit.width});
}

void derive_segmenter(NetworkFile& file, const Stated& stated) {
  const Shapes shapes(file.tensors, file.path);
  if (!shapes.has("decode_head.fpn_bottleneck.conv.weight") || !shapes.has("auxiliary_head.conv_seg.weight")) return;
  SegmenterChoice& choice = file.segmenter;
  if (stated.config) from_json(describe(choice), *stated.config, file.path);
  const int64_t width = file.vit.width, classes = shapes.get("decode_head.conv_seg.weight", 4).size(0);
  const int64_t channels = choice.channels = shapes.get("decode_head.conv_seg.weight", 4).size(1);
  choice.auxiliary_channels = shapes.get("auxiliary_head.conv_seg.weight", 4).size(1);
  check_shape(shapes, "decode_head.conv_seg.weight", {classes, channels, 1, 1});
  check_shape(shapes, "decode_head.bottleneck.conv.weight", {channels, width + 4 * channels, 3, 3});
  check_shape(shapes, "decode_head.fpn_bottleneck.conv.weight", {channels, 4 * channels, 3, 3});
  for (int64_t level = 0; level < 3; ++level) {
    check_shape(shapes, fmt::format("decode_head.lateral_convs.{}.conv.weight", level), {channels, width, 1, 1});
    check_shape(shapes, fmt::format("decode_head.fpn_convs.{}.conv.weight", level), {channels, channels, 3, 3});
  }
  check_shape(shapes, "auxiliary_head.conv_seg.weight", {classes, choice.auxiliary_channels, 1, 1});
  check_shape(shapes, "auxiliary_head.convs.0.conv.weight", {choice.auxiliary_channels, width, 3, 3});
  file.classes = classes;
}

}  // namespace

std::string_view readable(Network network) {
  switch (network) {
    case Network::kTokenizer: return "a tokenizer";
    case Network::kPretrained: return "a pre-trained model";
    case Network::kClassifier: return "a classifier";
    case Network::kSegmenter: return "a segmentation model";
    case Network::kBackbone: return "a backbone";
    case Network::kClip: return "a CLIP network";
    case Network::kDino: return "a DINO network";
    case Network::kDecoder: return "a pixel decoder";
    case Network::kCodes: return "codes of images";
    case Network::kUnknown: break;
  }
  return "tensors of an unknown model";
}

LibraryConfig library_config(const TensorFile& file, std::string_view where) {
  const auto text = file.metadata.find("config.json");
  if (text == file.metadata.end()) return {};
  auto json = nlohmann::json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  for (const char* inner : {"model_args", "vision_config"}) {
    if (json.is_object() && json.contains(inner) && !json[inner].is_null()) json = nlohmann::json(json[inner]);
  }
  require(json.is_object(), "{}: config.json: expected a JSON object, got other text; mend it or take the file out",
          where);
  const auto activation = json.find("hidden_act"), eps = json.find("layer_norm_eps");
  return {.width = positive(json, {"hidden_size", "embed_dim"}, where),
          .depth = positive(json, {"num_hidden_layers", "depth"}, where),
          .heads = positive(json, {"num_attention_heads", "num_heads"}, where),
          .image_size = positive(json, {"image_size", "img_size"}, where),
          .patch_size = positive(json, {"patch_size"}, where),
          .activation = activation != json.end() && activation->is_string() ? activation->get<std::string>() : "",
          .norm_eps = eps != json.end() && eps->is_number() ? eps->get<double>() : 0.0};
}

std::vector<std::string> assumed_of_teacher(Network network, const LibraryConfig& config) {
  std::vector<std::string> assumed;
  if (config.heads == 0) assumed.emplace_back("heads of width 64");
  if (network == Network::kClip && config.activation.empty()) assumed.emplace_back("quick_gelu, as OpenAI trained it");
  return assumed;
}

std::string_view NetworkFile::prefix() const {
  return network == Network::kTokenizer ? "encoder." : network == Network::kSegmenter ? "backbone." : "";
}

std::pair<std::string, std::string> class_metadata(const std::vector<std::string>& names) {
  return {kClasses, nlohmann::json(names).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

NetworkFile open_network(const std::filesystem::path& path, const LoadOptions& options) {
  return as_network(read_weights(path), path.string(), options);
}

NetworkFile as_network(const TensorFile& given, std::string path, const LoadOptions& options) {
  NamedNetwork named = reference_names(given, path);
  NetworkFile file;
  file.path = std::move(path);
  const auto command = given.metadata.find("command");
  file.network = network_of(named.tensors, command == given.metadata.end() ? "" : command->second);
  file.tensors = std::move(named.tensors);
  file.order = std::move(named.order);
  file.form = std::move(named.form);
  file.left_out = std::move(named.left_out);
  if (file.network == Network::kDecoder) {
    check_storages(file.tensors, file.path);
    derive_decoder(file, given);
  }
  if (!is_ours(file.network)) return file;
  require(options.input_form.empty() || file.network == Network::kTokenizer,
          "{}: expected a tokenizer for --input-form, got {}; leave the option out", file.path, readable(file.network));
  if (file.network != Network::kPretrained && file.tensors.erase("mask_token") > 0)
    file.left_out.push_back("mask_token");

  check_storages(file.tensors, file.path);
  const Stated stated = stated_by(given, file.path);
  file.config = stated.config.value_or("");
  const TensorMap backbone = tensors_under(file.tensors, file.prefix());
  derive_vit(file, Shapes(backbone, file.path), stated, options);
  if (options.image_size > 0 && options.image_size != file.model.image_size) resize(file, options.image_size);
  if (file.network == Network::kTokenizer) derive_tokenizer(file, stated, options);
  if (file.network == Network::kPretrained) derive_pretrained(file, given, stated);
  if (file.network == Network::kClassifier) derive_classifier(file);
  if (file.network == Network::kSegmenter) derive_segmenter(file, stated);
  if (file.classes > 0) file.class_names = class_names_of(given, file.classes, file.path);
  return file;
}

}  // namespace beit

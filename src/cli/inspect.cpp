// `beit inspect`: what is in a file of weights, a checkpoint or a run.
// Shape letters: K codes.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/table.h"
#include "core/quantizer.h"
#include "core/teacher_clip.h"
#include "core/teacher_dino.h"
#include "io/weights.h"
#include "train/models.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

/// `torch.float32` in Python's terms is `float32` here.
std::string dtype_name(const torch::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case torch::kFloat64: return "float64";
    case torch::kFloat32: return "float32";
    case torch::kFloat16: return "float16";
    case torch::kBFloat16: return "bfloat16";
    case torch::kInt64: return "int64";
    case torch::kInt32: return "int32";
    case torch::kInt16: return "int16";
    case torch::kInt8: return "int8";
    case torch::kUInt8: return "uint8";
    case torch::kBool: return "bool";
    default: return c10::toString(tensor.scalar_type());
  }
}

std::string shape_text(const torch::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

/// 1234567 as 1,234,567.
std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (int64_t at = std::ssize(digits) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

/// The tensor whose name is or ends with `name`, as a checkpoint may put something before it; undefined without.
torch::Tensor find(const TensorMap& tensors, std::string_view name) {
  for (const auto& [full, tensor] : tensors) {
    if (full == name || full.ends_with("." + std::string(name)) || full.ends_with("/" + std::string(name)))
      return tensor;
  }
  return {};
}

/// Null where there is no codebook.
Json codebook_facts(const TensorMap& tensors) {
  const auto codes_KD = find(tensors, "quantize.embedding.weight"), counts_K = find(tensors, "quantize.cluster_size");
  if (!codes_KD.defined() || codes_KD.dim() != 2) return nullptr;
  Json facts{{"codes", codes_KD.size(0)}, {"width", codes_KD.size(1)}};
  if (!counts_K.defined() || counts_K.numel() == 0 || counts_K.to(torch::kFloat64).sum().item<double>() <= 0)
    return facts;
  const CodeUsage usage = code_usage(counts_K);
  facts["usage_percent"] = usage.percent;
  facts["unused_codes"] = usage.unused;
  facts["perplexity"] = usage.perplexity;
  return facts;
}

/// What the tensors' shapes and names say of a network of ours or a pixel decoder, and how it fits.
Json network_facts(const NetworkFile& file) {
  const ViTOptions& vit = file.vit;
  const auto relative = vit.relative_position == RelPos::kBlock    ? "block"
                        : vit.relative_position == RelPos::kShared ? "shared"
                                                                   : "none";
  Json facts{{"width", vit.width},
             {"depth", vit.depth},
             {"heads", vit.heads},
             {"patch_size", vit.patch_size},
             {"grid", fmt::format("{}x{}", vit.grid.rows, vit.grid.columns)},
             {"absolute_position", vit.absolute_position},
             {"relative_position", relative},
             {"layer_scale", vit.layer_scale > 0}};
  if (file.network == Network::kDecoder) {
    facts.update({{"codes", file.codebook.codes}, {"code_dim", file.codebook.code_dim}});
  } else if (file.network == Network::kTokenizer) {
    facts.update({{"codes", file.codebook.codes},
                  {"code_dim", file.codebook.code_dim},
                  {"decoder_depth", file.codebook.decoder_depth},
                  {"target_width", file.target_width},
                  {"input_form", file.codebook.input_form}});
  } else if (file.network == Network::kPretrained) {
    facts.update({{"codes", file.codes}, {"cls_branch", file.mim.cls_branch}});
    if (file.mim.cls_branch) {
      facts.update({{"early_layers", file.mim.early_layers},
                    {"head_layers", file.mim.head_layers},
                    {"shared_head", file.mim.shared_head}});
    }
  } else if (file.network == Network::kClassifier) {
    facts.update({{"classes", file.classes}, {"pooling", file.pooling() == Pooling::kMean ? "mean" : "cls"}});
  } else if (file.network == Network::kSegmenter) {
    facts.update({{"classes", file.classes},
                  {"channels", file.segmenter.channels},
                  {"auxiliary_channels", file.segmenter.auxiliary_channels}});
  }
  const LoadReport report = mismatches(file);
  for (const auto& [kind, names] :
       {std::pair("missing", report.missing), std::pair("unexpected", report.unexpected),
        std::pair("wrong_shape", report.wrong_shape), std::pair("wrong_dtype", report.wrong_dtype),
        std::pair("non_finite", report.non_finite)}) {
    if (!names.empty()) facts[kind] = names;
  }
  return facts;
}

/// The same of a teacher, as far as it is not left to the file's configuration.
void add_teacher_facts(Json& facts, const NetworkFile& file, const LibraryConfig& config) {
  const auto facts_of = [](const auto& options) {
    return Json{{"width", options.width},
                {"depth", options.depth},
                {"heads", options.heads},
                {"patch_size", options.patch_size},
                {"grid", fmt::format("{}x{}", options.grid.rows, options.grid.columns)}};
  };
  if (file.network == Network::kClip) {
    const ClipOptions clip = clip_options(tower_weights(file.tensors, "class_embedding", file.path), config.heads);
    facts["network"] = facts_of(clip);
    facts["network"]["output"] = clip.output;
  } else {
    const DinoOptions dino = dino_options(tower_weights(file.tensors, "cls_token", file.path), config.heads);
    facts["network"] = facts_of(dino);
    facts["network"].update(
        {{"registers", dino.registers}, {"layer_scale", dino.layer_scale}, {"swiglu", dino.swiglu}});
  }
  for (const auto& assumed : assumed_of_teacher(file.network, config)) facts["assumed"].push_back(assumed);
}

/// What --json prints; the text for people is made of the same.
Json facts_of(const std::string& path, const TensorFile& given) {
  Json facts{{"file", path}};
  try {
    const NetworkFile file = as_network(given, path);
    facts["content"] =
        fmt::format("{}{}", given.metadata.contains("step") ? "a checkpoint of " : "", readable(file.network));
    if (file.network < Network::kCodes) facts["names"] = file.form;
    if (is_ours(file.network) || file.network == Network::kDecoder) facts["network"] = network_facts(file);
    if (!file.assumed.empty()) facts["assumed"] = file.assumed;
    if (is_teacher(file.network)) add_teacher_facts(facts, file, library_config(given, path));
    if (!file.left_out.empty()) facts["no_part_of_the_network"] = file.left_out;
  } catch (const Error& error) {
    facts["content"] = "a network that cannot be used";
    facts["problem"] = error.what();
  }
  for (const auto& [key, value] : given.metadata) {
    const auto parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    facts[key == "config" ? "config" : "metadata"][key] = parsed.is_discarded() ? Json(value) : parsed;
  }
  if (facts.contains("config")) facts["config"] = Json(facts["config"]["config"]);
  int64_t values = 0, bytes = 0;
  facts["tensors"] = Json::array();
  for (const auto& [name, tensor] : given.tensors) {
    facts["tensors"].push_back({{"name", name}, {"dtype", dtype_name(tensor)}, {"shape", tensor.sizes().vec()}});
    values += tensor.numel();
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  facts["values"] = values;
  facts["bytes"] = bytes;
  facts["codebook"] = codebook_facts(given.tensors);
  return facts;
}

/// An optimizer's state has several numbers for each parameter; people get their count.
Json without_parts(const Json& metadata) {
  constexpr std::string_view kState = "optimizer.state.";
  Json kept = Json::object();
  int64_t numbers = 0;
  for (const auto& [key, value] : metadata.items()) {
    if (key.starts_with(kState)) {
      ++numbers;
    } else {
      kept[key] = value;
    }
  }
  if (numbers > 0) kept[std::string(kState) + "*"] = fmt::format("{} numbers", numbers);
  return kept;
}

/// `name  value` lines, names padded to one width; long values shortened.
std::string aligned(const Json& object) {
  size_t width = 0;
  for (const auto& [key, value] : object.items()) width = std::max(width, key.size());
  std::string lines;
  for (const auto& [key, value] : object.items()) {
    std::string text = on_one_line(value.is_string() ? value.get<std::string>()
                                                     : value.dump(-1, ' ', false, Json::error_handler_t::replace));
    if (constexpr size_t kLongest = 80; text.size() > kLongest) text = text.substr(0, kLongest) + "...";
    lines += fmt::format("  {:<{}}  {}\n", key, width, text);
  }
  return lines;
}

std::string table(const TensorMap& tensors) {
  size_t name_width = 0, shape_width = 0;
  for (const auto& [name, tensor] : tensors) {
    name_width = std::max(name_width, name.size());
    shape_width = std::max(shape_width, shape_text(tensor).size());
  }
  std::string lines;
  for (const auto& [name, tensor] : tensors) {
    lines += fmt::format("  {:<{}}  {:<8}  {:<{}}  {:>13}\n", on_one_line(name), name_width, dtype_name(tensor),
                         shape_text(tensor), shape_width, grouped(tensor.numel()));
  }
  return lines;
}

std::string text_of(const Json& facts, const TensorMap& tensors) {
  std::string text = fmt::format("{}: {}\n", facts["file"].get<std::string>(), facts["content"].get<std::string>());
  for (const char* part : {"problem", "names"}) {
    if (facts.contains(part)) text += fmt::format("{}: {}\n", part, facts[part].get<std::string>());
  }
  if (facts.contains("network")) text += "\nnetwork\n" + aligned(facts["network"]);
  for (const auto& [part, title] :
       {std::pair("assumed", "assumed"), std::pair("no_part_of_the_network", "no part of the network")}) {
    if (!facts.contains(part)) continue;
    text += fmt::format("\n{}\n", title);
    for (const Json& entry : facts[part]) text += fmt::format("  {}\n", on_one_line(entry.get<std::string>()));
  }
  if (facts.contains("metadata")) text += "\nmetadata\n" + aligned(without_parts(facts["metadata"]));
  if (facts.contains("config")) text += "\nconfiguration\n" + aligned(facts["config"]);
  text += "\ntensors\n" + table(tensors);
  text += fmt::format("  {} tensors, {} values, {}\n", tensors.size(), grouped(facts["values"]),
                      readable_bytes(facts["bytes"]));
  if (const Json& codebook = facts["codebook"]; !codebook.is_null()) {
    text += fmt::format("\ncodebook\n  {} codes of width {}", codebook["codes"].get<int64_t>(),
                        codebook["width"].get<int64_t>());
    text += !codebook.contains("perplexity")
                ? "; no usage counted\n"
                : fmt::format("; {:.1f}% used, {} unused, perplexity {:.1f}\n", codebook["usage_percent"].get<double>(),
                              codebook["unused_codes"].get<int64_t>(), codebook["perplexity"].get<double>());
  }
  return text;
}

struct Inspect {
  std::string path;
  bool json = false;

  OptionList options() {
    return {{.name = "FILE",
             .value = &path,
             .help = "safetensors or .pth file, run folder, or Hugging Face's folder",
             .value_name = "FILE",
             .positional = true},
            {.name = "json", .value = &json, .help = "print one JSON object"}};
  }

  void run() const {
    require(!path.empty(), "inspect: expected a file or run folder, got none; say `beit inspect FILE`");
    const TensorFile file = read_weights(path);
    const Json facts = facts_of(path, file);
    fmt::print("{}",
               json ? facts.dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : text_of(facts, file.tensors));
  }
};

}  // namespace

Command inspect_command() {
  return make_command<Inspect>("inspect", "Show what a file of weights, a checkpoint or a run holds");
}

}  // namespace beit

#include "io/name_map.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "io/mapped_file.h"
#include "io/weights.h"

namespace beit {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;  // the published code's name or its start, and the other's

// Hugging Face's BEiT, without the "beit." that may stand before all but the last three.
constexpr std::array kBeitBlock{
    Pair{"norm1.", "layernorm_before."},
    Pair{"norm2.", "layernorm_after."},
    Pair{"gamma_1", "lambda_1"},
    Pair{"gamma_2", "lambda_2"},
    Pair{"attn.q_bias", "attention.attention.query.bias"},
    Pair{"attn.v_bias", "attention.attention.value.bias"},
    Pair{"attn.relative_position_bias_table",
         "attention.attention.relative_position_bias.relative_position_bias_table"},
    Pair{"attn.proj.", "attention.output.dense."},
    Pair{"mlp.fc1.", "intermediate.dense."},
    Pair{"mlp.fc2.", "output.dense."},
};
constexpr std::array kBeitModel{
    Pair{"cls_token", "embeddings.cls_token"},
    Pair{"mask_token", "embeddings.mask_token"},
    Pair{"pos_embed", "embeddings.position_embeddings"},
    Pair{"patch_embed.proj.", "embeddings.patch_embeddings.projection."},
    Pair{"rel_pos_bias.relative_position_bias_table", "encoder.relative_position_bias.relative_position_bias_table"},
    Pair{"fc_norm.", "pooler.layernorm."},
};
constexpr std::array kBeitHeads{Pair{"lm_head.", "lm_head."}, Pair{"head.", "classifier."}};
constexpr std::string_view kBeitPrefix = "beit.", kBeitBlocks = "encoder.layer.", kBeitNorm = "layernorm.",
                           kBeitQkv = "attention.attention.";

// Hugging Face's CLIP, without "vision_model.", and OpenAI's, without "visual.".
constexpr std::array kClipBlock{
    Pair{"ln_1.", "layer_norm1."}, Pair{"ln_2.", "layer_norm2."},   Pair{"attn.out_proj.", "self_attn.out_proj."},
    Pair{"mlp.c_fc.", "mlp.fc1."}, Pair{"mlp.c_proj.", "mlp.fc2."},
};
constexpr std::array kClipModel{
    Pair{"class_embedding", "embeddings.class_embedding"},
    Pair{"conv1.weight", "embeddings.patch_embedding.weight"},
    Pair{"positional_embedding", "embeddings.position_embedding.weight"},
    Pair{"ln_pre.", "pre_layrnorm."},  // so spelt in the files
    Pair{"ln_post.", "post_layernorm."},
};
constexpr std::string_view kClipPrefix = "vision_model.", kClipBlocks = "encoder.layers.",
                           kClipProjection = "visual_projection.weight",
                           kClipPatches = "embeddings.patch_embedding.weight";

constexpr std::array<std::string_view, 4> kContainers{"model", "module", "state_dict", "teacher"};

constexpr int kMostLevels = 8;  // of containers in one another

/// `name` with the start that a pair knows exchanged; a pair that ends in a dot stands for all names that start so.
template <size_t kCount>
std::optional<std::string> exchanged(std::string_view name, const std::array<Pair, kCount>& pairs, bool to_reference) {
  for (const auto& [reference, other] : pairs) {
    const auto from = to_reference ? other : reference, to = to_reference ? reference : other;
    if (from.ends_with('.') ? name.starts_with(from) : name == from) {
      return std::string(to) + std::string(name.substr(from.size()));
    }
  }
  return std::nullopt;
}

/// "12." of "blocks.12.norm1.weight" and what follows, where the name starts with `list`.
std::optional<std::pair<std::string, std::string_view>> block_of(std::string_view name, std::string_view list) {
  if (!name.starts_with(list)) return std::nullopt;
  const auto rest = name.substr(list.size());
  const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  if (digits == 0 || digits == rest.size() || rest[digits] != '.') return std::nullopt;
  return std::pair(std::string(rest.substr(0, digits + 1)), rest.substr(digits + 1));
}

bool any_starts_with(const TensorMap& tensors, std::string_view start) {
  const auto found = tensors.lower_bound(std::string(start));
  return found != tensors.end() && found->first.starts_with(start);
}

/// Removes the tensors that `unwanted` knows and says how many, by the name it gives them.
template <class Unwanted>
void leave_out(NamedNetwork& network, const Unwanted& unwanted) {
  std::map<std::string, int64_t> counts;
  std::erase_if(network.tensors, [&](const auto& entry) {
    const std::optional<std::string> kind = unwanted(entry.first);
    if (kind) ++counts[*kind];
    return kind.has_value();
  });
  for (const auto& [kind, count] : counts) {
    network.left_out.push_back(count == 1 ? kind : fmt::format("{} ({} tensors)", kind, count));
  }
}

std::string first_component(std::string_view name) {
  const size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string(name) : std::string(name.substr(0, dot)) + ".*";
}

/// Goes down to the dict that holds the network.
void unwrap(NamedNetwork& network) {
  const auto holds = [&](std::string_view container) {
    return any_starts_with(network.tensors, fmt::format("{}.", container)) &&
           (container != "teacher" || any_starts_with(network.tensors, "student."));
  };
  for (int level = 0; level < kMostLevels; ++level) {
    const auto* const container = std::ranges::find_if(kContainers, holds);
    if (container == kContainers.end()) return;
    const std::string prefix = fmt::format("{}.", *container);
    leave_out(network, [&](std::string_view name) {
      return name.starts_with(prefix) ? std::nullopt : std::optional(first_component(name));
    });
    network.tensors = tensors_under(network.tensors, prefix);
    std::erase_if(network.order, [&](const std::string& name) { return !name.starts_with(prefix); });
    for (std::string& name : network.order) name.erase(0, prefix.size());
  }
}

void put(TensorMap& tensors, const std::string& name, torch::Tensor tensor, std::string_view where) {
  require(tensors.emplace(name, std::move(tensor)).second,
          "{}: expected each tensor once, got what is {} here twice; keep one network alone", where, printable(name));
}

/// Query, key and value of all blocks, gathered until each is whole.
class Joined {
 public:
  explicit Joined(std::string_view where) : where_(where) {}

  /// Part 0 is the query's, 1 the key's, 2 the value's.
  void add(const std::string& name, size_t part, const torch::Tensor& tensor) { parts_[name].at(part) = tensor; }

  void into(TensorMap& tensors) const {
    for (const auto& [name, parts] : parts_) {
      for (const torch::Tensor& part : parts) {
        require(
            part.defined() && part.dim() > 0 && parts[0].defined() && part.sizes() == parts[0].sizes() &&
                part.scalar_type() == parts[0].scalar_type(),
            "{}: {}: expected query, key and value of one shape, got others; the file is incomplete: fetch it again",
            where_, printable(name));
      }
      put(tensors, name, torch::cat({parts[0], parts[1], parts[2]}), where_);
    }
  }

 private:
  std::string where_;
  std::map<std::string, std::array<torch::Tensor, 3>> parts_;
};

constexpr std::array<std::string_view, 3> kBeitParts{"query", "key", "value"}, kClipParts{"q_proj", "k_proj", "v_proj"};

/// Which part "query.weight" is of, and "weight".
std::optional<std::pair<size_t, std::string_view>> part_of(std::string_view name,
                                                           const std::array<std::string_view, 3>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (name.starts_with(parts[i]) && name.substr(parts[i].size()).starts_with('.')) {
      return std::pair(i, name.substr(parts[i].size() + 1));
    }
  }
  return std::nullopt;
}

void from_hugging_face_beit(NamedNetwork& network, std::string_view where) {
  leave_out(network, [](std::string_view name) {
    const bool segments =
        name.starts_with("decode_head.") || name.starts_with("auxiliary_head.") || name.starts_with("fpn");
    return segments ? std::optional(first_component(name)) : std::nullopt;
  });
  TensorMap renamed;
  Joined joined(where);
  std::string norm;  // where `norm` was found
  for (const auto& [full, tensor] : network.tensors) {
    std::string_view name = full;
    if (name.starts_with(kBeitPrefix)) name.remove_prefix(kBeitPrefix.size());
    if (const auto block = block_of(name, kBeitBlocks)) {
      const std::string prefix = "blocks." + block->first;
      if (const auto own = exchanged(block->second, kBeitBlock, /*to_reference=*/true)) {
        put(renamed, prefix + *own, tensor, where);
        continue;
      }
      if (block->second.starts_with(kBeitQkv)) {
        const auto part = part_of(block->second.substr(kBeitQkv.size()), kBeitParts);
        if (part && part->second == "weight") {
          joined.add(prefix + "attn.qkv.weight", part->first, tensor);
          continue;
        }
      }
    }
    auto own = exchanged(name, kBeitModel, /*to_reference=*/true);
    if (!own) own = exchanged(name, kBeitHeads, /*to_reference=*/true);
    if (!own && name.starts_with(kBeitNorm)) {
      const std::string from = full.substr(0, full.size() - name.size());
      require(norm.empty() || norm == from + "/",
              "{}: expected one final norm, got '{}' and '{}layernorm'; beit has no network with both", where,
              kBeitNorm, kBeitPrefix);
      norm = from + "/";
      own = "norm." + std::string(name.substr(kBeitNorm.size()));
    }
    put(renamed, own ? *own : std::string(name), tensor, where);
  }
  joined.into(renamed);
  network.tensors = std::move(renamed);
  network.form = "Hugging Face's BEiT";
}

/// `prefix` stands before the names of the image tower.
void from_hugging_face_clip(NamedNetwork& network, std::string_view prefix, std::string_view where) {
  leave_out(network, [&](std::string_view name) {
    const bool vision = name.starts_with(prefix) || name == kClipProjection;
    return vision && !name.ends_with("position_ids") ? std::nullopt : std::optional(first_component(name));
  });
  TensorMap renamed;
  Joined joined(where);
  for (const auto& [full, tensor] : network.tensors) {
    if (full == kClipProjection) {
      require(tensor.dim() == 2, "{}: {}: expected two dimensions, got {}", where, full, tensor.dim());
      put(renamed, "visual.proj", tensor.t(), where);
      continue;
    }
    const auto name = std::string_view(full).substr(prefix.size());
    if (const auto block = block_of(name, kClipBlocks)) {
      const std::string own_block = "visual.transformer.resblocks." + block->first;
      constexpr std::string_view kAttention = "self_attn.";
      if (const auto own = exchanged(block->second, kClipBlock, /*to_reference=*/true)) {
        put(renamed, own_block + *own, tensor, where);
        continue;
      }
      if (block->second.starts_with(kAttention)) {
        if (const auto part = part_of(block->second.substr(kAttention.size()), kClipParts)) {
          joined.add(fmt::format("{}attn.in_proj_{}", own_block, part->second), part->first, tensor);
          continue;
        }
      }
    }
    const auto own = exchanged(name, kClipModel, /*to_reference=*/true);
    put(renamed, "visual." + (own ? *own : std::string(name)), tensor, where);
  }
  joined.into(renamed);
  network.tensors = std::move(renamed);
  network.form = "Hugging Face's CLIP";
}

bool any_ends_with(const TensorMap& tensors, std::string_view end) {
  return std::ranges::any_of(tensors, [&](const auto& entry) {
    const std::string_view name = entry.first;
    return name == end || (name.ends_with(end) && name[name.size() - end.size() - 1] == '.');
  });
}

}  // namespace

NamedNetwork reference_names(const TensorFile& file, std::string_view where) {
  NamedNetwork network{.tensors = file.tensors, .order = file.order, .form = "the published code's", .left_out = {}};
  unwrap(network);
  // ViT and DINO have the same names, but a bias on the key.
  if (any_ends_with(network.tensors, "embeddings.patch_embeddings.projection.weight") &&
      !any_ends_with(network.tensors, "attention.attention.key.bias")) {
    from_hugging_face_beit(network, where);
  } else if (network.tensors.contains(fmt::format("{}{}", kClipPrefix, kClipPatches))) {
    from_hugging_face_clip(network, kClipPrefix, where);
  } else if (network.tensors.contains(std::string(kClipPatches))) {
    from_hugging_face_clip(network, "", where);
  }
  const bool tokenizer = network.tensors.contains("quantize.embedding.weight");
  leave_out(network, [&](std::string_view name) -> std::optional<std::string> {
    if (name.ends_with("relative_position_index")) return "relative_position_index, which follows from the grid";
    const bool of_teacher = name.starts_with("teacher") || name.starts_with("scaling_layer.");
    return tokenizer && of_teacher ? std::optional(first_component(name)) : std::nullopt;
  });
  return network;
}

TensorMap hugging_face_names(const TensorMap& tensors, std::string_view model_prefix, std::string_view norm_prefix) {
  TensorMap renamed;
  for (const auto& [name, tensor] : tensors) {
    if (const auto block = block_of(name, "blocks.")) {
      const std::string prefix = fmt::format("{}{}{}", model_prefix, kBeitBlocks, block->first);
      if (const auto other = exchanged(block->second, kBeitBlock, /*to_reference=*/false)) {
        renamed.emplace(prefix + *other, tensor);
        continue;
      }
      if (block->second == "attn.qkv.weight") {
        const auto parts = tensor.chunk(3);
        for (size_t i = 0; i < kBeitParts.size(); ++i) {
          renamed.emplace(fmt::format("{}{}{}.weight", prefix, kBeitQkv, kBeitParts[i]), parts[i]);
        }
        continue;
      }
    }
    auto other = exchanged(name, kBeitModel, /*to_reference=*/false);
    if (other) other = fmt::format("{}{}", model_prefix, *other);
    if (!other) other = exchanged(name, kBeitHeads, /*to_reference=*/false);
    if (!other && name.starts_with("norm.")) other = std::string(norm_prefix) + name.substr(5);
    require(other.has_value(), "{}: expected a tensor that Hugging Face's BEiT has, got another; export a backbone",
            printable(name));
    renamed.emplace(*other, tensor);
  }
  return renamed;
}

}  // namespace beit

#include "core/tower_weights.h"

#include <charconv>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace beit {
namespace {

/// "3 missing (a, b, ...)", or nothing.
void add_names(std::string& text, const std::vector<std::string>& names, std::string_view kind) {
  if (names.empty()) return;
  constexpr size_t kShown = 3;
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<int64_t>(std::min(names.size(), kShown)));
  text += fmt::format("{}{} {} ({}{})", text.empty() ? "" : ", ", names.size(), kind, fmt::join(first, ", "),
                      names.size() > kShown ? ", ..." : "");
}

std::string sizes(const torch::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

}  // namespace

NamedTensors tower_weights(const NamedTensors& file, std::string_view anchor, std::string_view what) {
  std::vector<std::string> prefixes;
  for (const auto& [name, tensor] : file) {
    const std::string_view view = name;
    if (!view.ends_with(anchor)) continue;
    const auto prefix = view.substr(0, view.size() - anchor.size());
    if (prefix.empty() || prefix.ends_with('.')) prefixes.emplace_back(prefix);
  }
  require(!prefixes.empty(),
          "{}: expected a tensor '{}', got {} others; --teacher-weights names another network's file, "
          "or --teacher another kind",
          what, anchor, file.size());
  require(prefixes.size() == 1,
          "{}: expected one network, got '{}' under {} prefixes ('{}'); keep the wanted one alone", what, anchor,
          prefixes.size(), fmt::join(prefixes, "', '"));
  NamedTensors tower;
  for (const auto& [name, tensor] : file) {
    if (!name.starts_with(prefixes[0])) continue;
    auto own = name.substr(prefixes[0].size());
    if (own.ends_with("num_batches_tracked") || own.starts_with("head.")) continue;
    tower.emplace(std::move(own), tensor);
  }
  return tower;
}

const torch::Tensor& tower_tensor(const NamedTensors& weights, const std::string& name, int64_t dimensions,
                                  std::string_view what) {
  const auto found = weights.find(name);
  require(found != weights.end() && found->second.dim() == dimensions && found->second.numel() > 0,
          "{}: expected a tensor '{}' with {} dimensions, got {}; --teacher-weights names another network's file", what,
          name, dimensions, found == weights.end() ? "none" : sizes(found->second));
  return found->second;
}

int64_t count_blocks(const NamedTensors& weights, std::string_view list, std::string_view what) {
  int64_t count = 0;
  for (const auto& [name, tensor] : weights) {
    if (!name.starts_with(list)) continue;
    int64_t number = -1;
    std::from_chars(name.data() + list.size(), name.data() + name.size(), number);
    // A file cannot hold more blocks than tensors: the lying number then shows as an unexpected tensor.
    if (number < static_cast<int64_t>(weights.size())) count = std::max(count, number + 1);
  }
  require(count > 0, "{}: expected tensors '{}0.*', got none; --teacher-weights names another network's file", what,
          list);
  return count;
}

int64_t tower_heads(int64_t width, int64_t wanted, std::string_view what) {
  const bool published = width == 544 || width == 1280;
  const int64_t heads = wanted > 0 ? wanted : published ? 16 : width / 64;
  require(wanted >= 0 && heads > 0 && width % heads == 0 && (wanted > 0 || published || width % 64 == 0),
          "{}: expected {}, got a width of {} and {} heads; the network is an unusual one, give its heads", what,
          wanted > 0 ? "a width that is a multiple of the heads" : "a width that is a multiple of 64", width, heads);
  return heads;
}

int64_t square_grid_side(int64_t tokens, std::string_view what) {
  const auto side =
      static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(std::max<int64_t>(tokens - 1, 0)))));
  require(side > 0 && side * side + 1 == tokens,
          "{}: expected positions of CLS and a square grid of patches, got {} rows; --teacher-weights names another "
          "network's file",
          what, tokens);
  return side;
}

void copy_weights(torch::nn::Module& module, const NamedTensors& weights, std::string_view what) {
  NamedTensors own;
  for (const auto& entry : module.named_parameters()) own.emplace(entry.key(), entry.value());
  for (const auto& entry : module.named_buffers()) own.emplace(entry.key(), entry.value());
  std::vector<std::string> missing, unexpected, wrong_shape;
  for (const auto& [name, tensor] : own) {
    const auto found = weights.find(name);
    if (found == weights.end()) {
      missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      wrong_shape.push_back(fmt::format("{}: expected {}, got {}", name, sizes(tensor), sizes(found->second)));
    }
  }
  for (const auto& [name, tensor] : weights) {
    if (!own.contains(name)) unexpected.push_back(name);
  }
  std::string faults;
  add_names(faults, missing, "missing");
  add_names(faults, unexpected, "unexpected");
  add_names(faults, wrong_shape, "of another shape");
  require(faults.empty(), "{}: expected its {} tensors, got {}; --teacher-weights names another network's file", what,
          own.size(), faults);
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) tensor.copy_(weights.at(name));
}

void freeze(torch::nn::Module& module) {
  module.eval();
  for (const auto& parameter : module.parameters()) parameter.requires_grad_(false);
}

}  // namespace beit

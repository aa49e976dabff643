#include "core/weights_regrid.h"

#include <string_view>

#include "base/error.h"
#include "core/bias_resize.h"
#include "core/regrid.h"

namespace beit {
namespace {

constexpr std::string_view kTable = "relative_position_bias_table";

/// Whether a name is `leaf`, or ends with it after a prefix.
bool is_leaf(std::string_view name, std::string_view leaf) {
  if (!name.ends_with(leaf)) return false;
  name.remove_suffix(leaf.size());
  return name.empty() || name.ends_with('.');
}

}  // namespace

void resize_to_grid(std::map<std::string, torch::Tensor>& tensors, const Grid& from, const Grid& to) {
  std::map<std::string, torch::Tensor> resized;
  for (const auto& [name, tensor] : tensors) {
    try {
      if (is_leaf(name, "pos_embed")) resized.emplace(name, resize_positions(tensor, from, to));
      if (is_leaf(name, kTable)) resized.emplace(name, resize_bias_table(tensor, from, to));
    } catch (const Error& error) {
      fail("{}: {}", name, error.what());
    }
  }
  for (auto& [name, tensor] : resized) tensors.at(name) = tensor;
}

void copy_shared_bias_to_blocks(std::map<std::string, torch::Tensor>& tensors, int64_t depth) {
  const auto shared = tensors.extract(fmt::format("rel_pos_bias.{}", kTable));
  tensors.erase("rel_pos_bias.relative_position_index");
  if (shared.empty()) return;
  for (int64_t i = 0; i < depth; ++i) {
    tensors.insert_or_assign(fmt::format("blocks.{}.attn.{}", i, kTable), shared.mapped().clone());
  }
}

}  // namespace beit

// The tensors of one network out of a file that may hold more.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <string_view>

namespace beit {

using NamedTensors = std::map<std::string, torch::Tensor>;

/// A network's tensors, found by one name that only this network has. Where that name carries a prefix in `file`
/// (`visual.`, `module.backbone.`), the prefix is dropped and with it every tensor that lacks it. `num_batches_tracked`
/// and classification heads (`head.*`) are left out. `what` names the network in errors: `anchor` is absent, or stands
/// under several prefixes.
NamedTensors tower_weights(const NamedTensors& file, std::string_view anchor, std::string_view what);

/// The tensor of that name with that many dimensions; Error otherwise.
const torch::Tensor& tower_tensor(const NamedTensors& weights, const std::string& name, int64_t dimensions,
                                  std::string_view what);

/// How many blocks `<list>N.*` there are: the highest N and one; Error where there is none.
int64_t count_blocks(const NamedTensors& weights, std::string_view list, std::string_view what);

/// Attention heads of a network of that width: `wanted` where it is above 0, else 16 at widths 544 and 1280, as
/// published, else 64 wide each. Error where the width is no multiple.
int64_t tower_heads(int64_t width, int64_t wanted, std::string_view what);

/// The square grid of a position embedding with `tokens` rows, CLS among them; Error where there is none.
int64_t square_grid_side(int64_t tokens, std::string_view what);

/// Copies all tensors into the module's parameters and buffers of the same names. Error that counts and names the first
/// few that are missing, unexpected or of another shape; the module is then untouched.
void copy_weights(torch::nn::Module& module, const NamedTensors& weights, std::string_view what);

/// No gradient, eval().
void freeze(torch::nn::Module& module);

}  // namespace beit

// Weights between files and modules.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace beit {

/// Reads a safetensors file or a .pth file (io/pth.h), told apart by their first bytes; an index of several such files
/// (io/sharded.h), told by its name, *.index.json; or a folder: a run's or a published one, in which it takes the first
/// of model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json, and the text of
/// its config.json (of at most 1 MiB) becomes metadata of that name. Error where it is none of these or damaged.
TensorFile read_weights(const std::filesystem::path& path);

/// The tensors whose names start with `prefix`, without it.
TensorMap tensors_under(const TensorMap& tensors, std::string_view prefix);

/// What did not fit, by name; entries of wrong_shape and wrong_dtype read "NAME: expected [2, 3], got [3, 2]".
/// Floating, complex and whole numbers are told apart; within a kind values are converted.
struct LoadReport {
  std::vector<std::string> missing;      ///< in the module, not in the map: left as they were
  std::vector<std::string> unexpected;   ///< in the map, not in the module
  std::vector<std::string> wrong_shape;  ///< in both: left as they were
  std::vector<std::string> wrong_dtype;  ///< in both, of equal shape: left as they were
  std::vector<std::string> non_finite;   ///< copied, though they hold infinities or NaN
  bool complete() const { return missing.empty() && unexpected.empty() && wrong_shape.empty() && wrong_dtype.empty(); }
};

/// Parameters and buffers under their published names. The tensors share memory with the module and need no gradient.
TensorMap state_dict(const torch::nn::Module& module);

/// Copies every tensor that fits into the module, converting dtype and device, and reports the rest. The module's
/// own `relative_position_index` buffers follow from its grid: those of the map are ignored, none is missed.
/// Not thread-safe with any use of the module.
LoadReport load_state_dict(torch::nn::Module& module, const TensorMap& tensors);

/// The same, but any mismatch is an Error that starts with `what`, counts and names the first few of each kind; the
/// module is then untouched. The report tells of non-finite values only.
LoadReport load_state_dict_strict(torch::nn::Module& module, const TensorMap& tensors, std::string_view what);

}  // namespace beit

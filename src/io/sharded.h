// Weights in several files: a JSON index says which file holds which tensor.
#pragma once

#include <filesystem>
#include <functional>

#include "io/safetensors.h"

namespace beit {

/// Reads an index ({"weight_map": {"name": "model-00001-of-00002.safetensors", ...}}) and by `read` every file that it
/// names, which stand beside it. Names come in the order of the files' names and within each as it lists them; metadata
/// are those of the files. Error, which names file and tensor: a damaged index, a name that is no plain file name, a
/// tensor that is not in its file or is in two, those of `read`.
TensorFile read_sharded(const std::filesystem::path& index,
                        const std::function<TensorFile(const std::filesystem::path&)>& read);

}  // namespace beit

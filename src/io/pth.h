// PyTorch's own files: a pickle of tensors, and their storages beside it.
#pragma once

#include <filesystem>

#include "io/safetensors.h"

namespace beit {

/// Reads the legacy form of torch.save() (before 1.6, or _use_new_zipfile_serialization=False): a dict of tensors,
/// nested or not. Names of nested members are joined by dots; list items are named by their number; numbers and texts
/// become metadata under the same names. Nothing of Python is run (io/pickle.h). Tensors are on the CPU, keep their
/// strides and share storages as they did when saved.
/// Error, which names file, member and offset: a damaged or lying file, a tensor that reaches out of its storage or is
/// larger than it, Python objects, the zip form.
TensorFile read_pth(const std::filesystem::path& path);

}  // namespace beit

// The safetensors format: eight bytes of header length, a JSON header, the tensors' bytes one after another.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace beit {

using TensorMap = std::map<std::string, torch::Tensor>;

/// What a file of tensors holds, whatever its format.
struct TensorFile {
  TensorMap tensors = {};
  std::map<std::string, std::string> metadata = {};
  std::vector<std::string> order = {};  ///< the tensors' names as the file lists them: by offset, or as they were saved
};

/// Reads a file whose header holds: dtypes are known, shapes and offsets agree, the tensors fill the file without gap
/// or overlap, no name comes twice, no more memory than the file's size and 64 MiB is needed; else an Error that names
/// file, tensor and offset. Tensors are CPU views of a
/// private mapping, which they keep alive: pages are read on first use, writing to them does not change the file.
/// Only bool and unaligned tensors are copied. All dtypes of the format that LibTorch has.
TensorFile read_safetensors(const std::filesystem::path& path);

/// Writes atomically (io/atomic_file.h). Tensors may lie on any device and have any strides; the bytes depend only on
/// names, values and metadata. Error where a tensor is undefined, sparse or of a dtype the format lacks.
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// The bytes of such a file. Error likewise.
std::string safetensors_bytes(const TensorMap& tensors, const std::map<std::string, std::string>& metadata = {});

}  // namespace beit

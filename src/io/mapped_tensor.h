// Tensors that lie in a file.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "io/mapped_file.h"

namespace beit {

/// Whether mapped_tensor() copies: a bool, or data that the dtype's alignment forbids to use where it lies.
bool copies_mapped(const MappedFile& file, uint64_t offset, torch::ScalarType type);

/// The contiguous CPU tensor whose bytes begin at `offset`, which must lie in the file. A view of the mapping, which it
/// keeps alive, or a copy (above). A byte other than 0 is a true bool.
torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, uint64_t offset, torch::IntArrayRef shape,
                            torch::ScalarType type);

}  // namespace beit

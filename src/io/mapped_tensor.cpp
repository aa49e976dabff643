#include "io/mapped_tensor.h"

#include <cstring>

namespace beit {

bool copies_mapped(const MappedFile& file, uint64_t offset, torch::ScalarType type) {
  const auto start = reinterpret_cast<uintptr_t>(file.bytes().data() + offset);
  return type == torch::kBool || start % torch::elementSize(type) != 0;
}

torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, uint64_t offset, torch::IntArrayRef shape,
                            torch::ScalarType type) {
  uint8_t* const start = file->bytes().data() + offset;
  const auto view = [&](torch::ScalarType as) {
    return torch::from_blob(
        start, shape, [file](void*) {}, torch::TensorOptions().dtype(as));
  };
  if (type == torch::kBool) return view(torch::kUInt8).ne(0);  // a bool of 2 would be undefined
  if (!copies_mapped(*file, offset, type)) return view(type);
  auto copy = torch::empty(shape, type);
  if (copy.nbytes() > 0) std::memcpy(copy.data_ptr(), start, copy.nbytes());
  return copy;
}

}  // namespace beit

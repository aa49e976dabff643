// The tensors in a pickle of PyTorch's: names, sizes and strides, and the storages that they lie in.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <string_view>

#include "io/allowance.h"
#include "io/pickle.h"
#include "io/safetensors.h"

namespace beit {

/// What a pickle says of a storage, which lies elsewhere in the file.
struct StorageId {
  std::string_view key;
  torch::ScalarType type;  ///< kUInt8 for an untyped one
  int64_t elements;
  int64_t offset;  ///< of this statement in the file
};

/// Whether a value of kind kPersistent speaks of a storage; the others are the classes of a whole model.
bool is_storage(const PickleValue& persistent);

/// Error, which starts with `where` and names the offset, unless it is a storage of a type that LibTorch has.
StorageId storage_id(const PickleValue& persistent, const std::string& where);

/// Gives a storage's elements as a tensor of one dimension; called once for each key. Its errors are its own.
using StorageReader = std::function<torch::Tensor(const StorageId&)>;

/// Which objects' attributes are read like the members of a dict.
enum class Attributes {
  kNamespaces,  ///< those of argparse.Namespace
  kModules,     ///< those of every object, tensors only: a TorchScript archive is a tree of modules
};

/// All tensors, texts and numbers under the root, named by their way there: keys and positions joined by dots. Tensors
/// keep their strides and share storages as they did when saved. None, sets, bytes, other objects, and what stands
/// under keys that are neither texts nor whole numbers are skipped.
/// Error, which starts with `where` and names member and offset: a root that is no dict (kModules: and no object), a
/// tensor that reaches out of its storage or is larger than it, one that is sparse, quantised, nested or without data,
/// names that meet, nesting deeper than 32, more than the allowance.
TensorFile pickled_tensors(const PickleValue& root, Attributes attributes, const StorageReader& read_storage,
                           const std::string& where, Allowance& allowance);

}  // namespace beit

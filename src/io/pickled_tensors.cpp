#include "io/pickled_tensors.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "io/mapped_file.h"

namespace beit {
namespace {

using Value = PickleValue;
using Kind = PickleValue::Kind;

constexpr int kDepthLimit = 32;
constexpr size_t kDimensionLimit = 64;
constexpr std::string_view kRemedy = "the file is damaged: fetch or save it again";
constexpr std::string_view kRebuild = "torch._utils._rebuild_";

// What a member of the result costs at most, its name aside: the map's node, the tensor, its place in a storage.
constexpr size_t kTensorBytes = 768, kStorageBytes = 768, kMetadataBytes = 192, kVisitBytes = 32;

struct NamedType {
  std::string_view name;
  torch::ScalarType type;
};

constexpr auto kStorageTypes = std::to_array<NamedType>({{"FloatStorage", torch::kFloat32},
                                                         {"DoubleStorage", torch::kFloat64},
                                                         {"HalfStorage", torch::kFloat16},
                                                         {"BFloat16Storage", torch::kBFloat16},
                                                         {"LongStorage", torch::kInt64},
                                                         {"IntStorage", torch::kInt32},
                                                         {"ShortStorage", torch::kInt16},
                                                         {"CharStorage", torch::kInt8},
                                                         {"ByteStorage", torch::kUInt8},
                                                         {"BoolStorage", torch::kBool},
                                                         {"ComplexFloatStorage", torch::kComplexFloat},
                                                         {"ComplexDoubleStorage", torch::kComplexDouble},
                                                         {"UntypedStorage", torch::kUInt8}});

// Types without a storage of their own: their tensors name them beside an untyped one.
constexpr auto kUntypedTypes = std::to_array<NamedType>({{"torch.uint16", torch::kUInt16},
                                                         {"torch.uint32", torch::kUInt32},
                                                         {"torch.uint64", torch::kUInt64},
                                                         {"torch.float8_e4m3fn", torch::kFloat8_e4m3fn},
                                                         {"torch.float8_e5m2", torch::kFloat8_e5m2},
                                                         {"torch.float8_e8m0fnu", torch::kFloat8_e8m0fnu}});

template <size_t N>
std::optional<torch::ScalarType> type_of(const std::array<NamedType, N>& types, std::string_view name) {
  const auto found = std::ranges::find(types, name, &NamedType::name);
  return found == types.end() ? std::nullopt : std::optional(found->type);
}

/// What the record of a tensor says.
struct TensorCall {
  std::string_view function;
  const std::vector<const Value*>* arguments;
  int64_t offset;
};

class Collector {
 public:
  Collector(Attributes attributes, const StorageReader& read_storage, const std::string& where, Allowance& allowance)
      : attributes_(attributes), read_storage_(read_storage), where_(where), allowance_(allowance) {}

  TensorFile collect(const Value& root) {
    const Value* const object = attributes_of(root);
    require(root.kind == Kind::kDict || (object != nullptr && attributes_ == Attributes::kModules),
            "{}: expected a dict of tensors, got {} at offset {}; save model.state_dict()", where_,
            root.kind == Kind::kObject ? "the object " + printable(root.items[0]->text) : "another value", root.offset);
    visit(root, "", 0);
    return std::move(result_);
  }

 private:
  void take_memory(size_t bytes, const std::string& name, int64_t offset) {
    require(allowance_.take(bytes),
            "{}: {}: expected names, texts and tensors that fit the file's size and 56 MiB, got more at offset {}; {}",
            where_, printable(name), offset, kRemedy);
  }

  /// Everything under `value`, by name.
  void visit(const Value& value, const std::string& name, int depth) {
    require(depth <= kDepthLimit, "{}: {}: expected at most {} levels, got more at offset {}; {}", where_,
            printable(name), kDepthLimit, value.offset, kRemedy);
    take_memory(kVisitBytes + name.size(), name, value.offset);
    const auto inner = [&](std::string_view key) {
      return depth == 0 ? std::string(key) : fmt::format("{}.{}", name, key);
    };
    switch (value.kind) {
      case Kind::kDict:
        for (size_t i = 0; i < value.items.size(); i += 2) {
          const Value& key = *value.items[i];
          if (key.kind == Kind::kText) visit(*value.items[i + 1], inner(key.text), depth + 1);
          if (key.kind == Kind::kInteger) visit(*value.items[i + 1], inner(std::to_string(key.integer)), depth + 1);
        }
        break;
      case Kind::kList:
      case Kind::kTuple:
        for (size_t i = 0; i < value.items.size(); ++i) visit(*value.items[i], inner(std::to_string(i)), depth + 1);
        break;
      case Kind::kObject:
        if (const auto call = tensor_call(value)) {
          add_tensor(*call, name);
        } else if (const Value* const state = attributes_of(value)) {
          visit(*state, name, depth);
        }
        break;
      case Kind::kBool: add_metadata(name, value.integer != 0 ? "true" : "false", value.offset); break;
      case Kind::kInteger: add_metadata(name, std::to_string(value.integer), value.offset); break;
      case Kind::kReal: add_metadata(name, fmt::format("{}", value.real), value.offset); break;
      case Kind::kText: add_metadata(name, value.text, value.offset); break;
      case Kind::kNone:
      case Kind::kBigInteger:
      case Kind::kBytes:
      case Kind::kSet:
      case Kind::kGlobal:
      case Kind::kPersistent: break;  // says nothing about a model
    }
  }

  /// The attributes of an object that is to be read, or null.
  const Value* attributes_of(const Value& object) const {
    const bool read = attributes_ == Attributes::kModules || object.made_by("argparse.Namespace");
    const bool has_state = object.kind == Kind::kObject && object.items.size() == 3;
    return read && has_state && object.items[2]->kind == Kind::kDict ? object.items[2] : nullptr;
  }

  void add_metadata(const std::string& name, std::string_view text, int64_t offset) {
    if (attributes_ == Attributes::kModules) return;
    take_memory(kMetadataBytes + name.size() + text.size(), name, offset);
    add(result_.metadata, name, std::string(text), offset);
  }

  template <class Map>
  void add(Map& map, const std::string& name, typename Map::mapped_type value, int64_t offset) {
    require(map.emplace(name, std::move(value)).second,
            "{}: {}: expected each name once, got it again at offset {}; {}", where_, printable(name), offset, kRemedy);
  }

  /// The call that builds a tensor, taken out of those that make a parameter or a subclass of it; nothing where the
  /// object is no tensor.
  std::optional<TensorCall> tensor_call(const Value& object) const {
    const Value* inner = &object;
    for (const std::string_view wrapper : {"_rebuild_parameter", "_rebuild_parameter_with_state"}) {
      if (object.made_by(fmt::format("torch._utils.{}", wrapper)) && !object.items[1]->items.empty()) {
        inner = object.items[1]->items[0];
      }
    }
    if (inner->kind != Kind::kObject) inner = &object;
    TensorCall call{inner->items[0]->text, &inner->items[1]->items, inner->offset};
    if (call.function == "torch._tensor._rebuild_from_type_v2" && call.arguments->size() >= 3) {
      const auto& fields = *call.arguments;  // function, class, arguments, attributes
      call = {fields[0]->text, &fields[2]->items, inner->offset};
    }
    return call.function.starts_with(kRebuild) ? std::optional(call) : std::nullopt;
  }

  void add_tensor(const TensorCall& call, const std::string& name) {
    take_memory(kTensorBytes + 2 * name.size(), name, call.offset);
    add(result_.tensors, name, tensor(call, fmt::format("{}: {}", where_, printable(name)), name), call.offset);
    result_.order.push_back(name);
  }

  /// A storage, an offset into it, sizes and strides.
  torch::Tensor tensor(const TensorCall& call, const std::string& where, const std::string& name) {
    const std::string_view kind = call.function.substr(kRebuild.size());
    const bool untyped = kind == "tensor_v3";
    require(untyped || kind == "tensor" || kind == "tensor_v2",
            "{}: expected a dense tensor, got what {} makes at offset {}; save it as a dense one", where,
            printable(call.function), call.offset);
    const auto& fields = *call.arguments;
    require(
        fields.size() >= (untyped ? 7 : 4) && fields[0]->kind == Kind::kPersistent && fields[1]->kind == Kind::kInteger,
        "{}: expected a storage and an offset, got other values at offset {}; {}", where, call.offset, kRemedy);
    const size_t flags = untyped ? 7 : 6;  // of conjugated and negated views
    require(fields.size() <= flags || fields[flags]->items.empty(),
            "{}: expected a tensor as it is, got one to be conjugated or negated at offset {}; save tensor.clone()",
            where, call.offset);
    torch::Tensor data = storage(storage_id(*fields[0], where), name);
    if (untyped) data = retyped(data, *fields[6], where, name);
    const auto sizes = dimensions(*fields[2], where), strides = dimensions(*fields[3], where);
    check_view(data.numel(), fields[1]->integer, sizes, strides, where, call.offset);
    take_memory(2 * sizes.size() * sizeof(int64_t), name, call.offset);
    return data.as_strided(sizes, strides, fields[1]->integer);
  }

  /// The first statement of a key makes it read, all others must agree.
  torch::Tensor storage(const StorageId& id, const std::string& name) {
    const auto found = storages_.find(id.key);
    if (found == storages_.end()) {
      take_memory(kStorageBytes, name, id.offset);
      return storages_.emplace(id.key, read_storage_(id)).first->second;
    }
    require(found->second.scalar_type() == id.type && found->second.numel() == id.elements,
            "{}: storage {}: expected one type and size, got two at offset {}; {}", where_, printable(id.key),
            id.offset, kRemedy);
    return found->second;
  }

  torch::Tensor retyped(const torch::Tensor& bytes, const Value& dtype, const std::string& where,
                        const std::string& name) {
    const auto type = type_of(kUntypedTypes, dtype.text);
    require(type.has_value(), "{}: expected a dtype that LibTorch has, got {} at offset {}; convert the tensor", where,
            printable(dtype.text), dtype.offset);
    const auto item = static_cast<int64_t>(torch::elementSize(*type));
    require(bytes.scalar_type() == torch::kUInt8 && bytes.numel() % item == 0,
            "{}: expected a storage of whole elements, got {} of {} bytes at offset {}; {}", where, bytes.numel(), item,
            dtype.offset, kRemedy);
    if (reinterpret_cast<uintptr_t>(bytes.const_data_ptr()) % static_cast<uintptr_t>(item) == 0) {
      return bytes.view(*type);
    }
    take_memory(bytes.nbytes(), name, dtype.offset);
    return bytes.clone().view(*type);
  }

  static std::vector<int64_t> dimensions(const Value& tuple, const std::string& where) {
    std::vector<int64_t> sizes;
    bool valid = tuple.kind == Kind::kTuple && tuple.items.size() <= kDimensionLimit;
    for (size_t i = 0; valid && i < tuple.items.size(); ++i) {
      valid = tuple.items[i]->kind == Kind::kInteger && tuple.items[i]->integer >= 0;
      sizes.push_back(tuple.items[i]->integer);
    }
    require(valid, "{}: expected a tuple of up to {} whole numbers, got another value at offset {}; {}", where,
            kDimensionLimit, tuple.offset, kRemedy);
    return sizes;
  }

  /// Throws unless each element lies in the storage and there are no more of them than the storage has: a tensor
  /// that repeats elements could be made as large as one likes.
  static void check_view(int64_t elements, int64_t offset, const std::vector<int64_t>& sizes,
                         const std::vector<int64_t>& strides, const std::string& where, int64_t at) {
    bool inside = sizes.size() == strides.size() && offset >= 0 && offset <= elements;
    bool empty = false;
    int64_t count = 1, last = offset, reach = 0;
    for (size_t i = 0; inside && i < sizes.size(); ++i) {
      empty |= sizes[i] == 0;
      const int64_t size = std::max<int64_t>(sizes[i], 1);
      inside = !__builtin_mul_overflow(count, size, &count) && !__builtin_mul_overflow(size - 1, strides[i], &reach) &&
               !__builtin_add_overflow(last, reach, &last);
    }
    require(inside && (empty || (last < elements && count <= elements)),
            "{}: expected elements within a storage of {}, got offset {}, sizes [{}], strides [{}] at offset {}; {}",
            where, elements, offset, fmt::join(sizes, ", "), fmt::join(strides, ", "), at, kRemedy);
  }

  Attributes attributes_;
  const StorageReader& read_storage_;
  const std::string& where_;
  Allowance& allowance_;
  std::map<std::string_view, torch::Tensor> storages_;  // keys point into the file
  TensorFile result_;
};

}  // namespace

bool is_storage(const PickleValue& persistent) {
  const Value& id = *persistent.items[0];
  return id.kind == Kind::kTuple && !id.items.empty() && id.items[0]->text == "storage";
}

StorageId storage_id(const PickleValue& persistent, const std::string& where) {
  const auto& fields = persistent.items[0]->items;
  require(is_storage(persistent) && fields.size() >= 5 && fields[1]->kind == Kind::kGlobal &&
              fields[2]->kind == Kind::kText && fields[4]->kind == Kind::kInteger && fields[4]->integer >= 0,
          "{}: expected (\"storage\", type, key, location, elements), got other values at offset {}; {}", where,
          persistent.offset, kRemedy);
  require(fields.size() == 5 || fields[5]->kind == Kind::kNone,
          "{}: expected whole storages, got a view at offset {}; save it with PyTorch 0.4 or newer", where,
          persistent.offset);
  std::string_view name = fields[1]->text;
  for (const std::string_view module : {"torch.cuda.", "torch.storage.", "torch."}) {
    if (!name.starts_with(module)) continue;
    name.remove_prefix(module.size());
    break;
  }
  const auto type = type_of(kStorageTypes, name);
  require(type.has_value(), "{}: expected a storage type that LibTorch has, got {} at offset {}; save dense tensors",
          where, printable(fields[1]->text), fields[1]->offset);
  return {fields[2]->text, *type, fields[4]->integer, persistent.offset};
}

TensorFile pickled_tensors(const PickleValue& root, Attributes attributes, const StorageReader& read_storage,
                           const std::string& where, Allowance& allowance) {
  return Collector(attributes, read_storage, where, allowance).collect(root);
}

}  // namespace beit

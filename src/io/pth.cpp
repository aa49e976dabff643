#include "io/pth.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/mapped_file.h"
#include "io/pickle.h"

namespace beit {
namespace {

using Value = PickleValue;
using Kind = PickleValue::Kind;

constexpr std::string_view kZip = "PK\x03\x04";
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // 0x1950A86A20F9469CFC6C
constexpr int64_t kProtocol = 1001;
constexpr int kDepthLimit = 32;
constexpr size_t kDimensionLimit = 64;
constexpr size_t kTextLimit = size_t{1} << 24;  // of all names and texts together: shared ones multiply
constexpr std::string_view kRemedy = "the file is damaged: fetch or save it again";

// What a state dict may name. The place of a storage type here is its place in kDtypes.
constexpr std::array<std::string_view, 23> kGlobals = {"torch.FloatStorage",
                                                       "torch.DoubleStorage",
                                                       "torch.HalfStorage",
                                                       "torch.BFloat16Storage",
                                                       "torch.LongStorage",
                                                       "torch.IntStorage",
                                                       "torch.ShortStorage",
                                                       "torch.CharStorage",
                                                       "torch.ByteStorage",
                                                       "torch.BoolStorage",
                                                       "torch.cuda.FloatStorage",
                                                       "torch.cuda.DoubleStorage",
                                                       "torch.cuda.HalfStorage",
                                                       "torch.cuda.BFloat16Storage",
                                                       "torch.cuda.LongStorage",
                                                       "torch.cuda.IntStorage",
                                                       "torch.cuda.ShortStorage",
                                                       "torch.cuda.CharStorage",
                                                       "torch.cuda.ByteStorage",
                                                       "torch.cuda.BoolStorage",
                                                       "torch._utils._rebuild_tensor",
                                                       "torch._utils._rebuild_tensor_v2",
                                                       "torch._utils._rebuild_parameter"};
constexpr auto kDtypes =
    std::to_array({torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16, torch::kInt64, torch::kInt32,
                   torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool});

struct Storage {
  torch::ScalarType type;
  int64_t elements;
  torch::Tensor data;  ///< one-dimensional; undefined until read
};

class LegacyReader {
 public:
  explicit LegacyReader(const std::filesystem::path& path) : file_(MappedFile::open(path)) {}

  TensorFile read() {
    read_prologue();
    const Pickle object = next_pickle();
    require(object.root->kind == Kind::kDict,
            "{}: expected a dict of tensors, got another value at offset {}; save model.state_dict()", file_->name(),
            object.root->offset);
    for (const Value& value : object.values) {
      if (value.kind == Kind::kPersistent) declare_storage(value);
    }
    const Pickle keys = next_pickle();
    for (const Value* key : expect(keys.root, Kind::kList, "a list of storage keys")->items) read_storage(*key);
    collect(*object.root, "", 0);
    return std::move(result_);
  }

 private:
  Pickle next_pickle() {
    Pickle pickle = read_pickle(file_->bytes(), at_, file_->name(), kGlobals);
    at_ = pickle.end;
    return pickle;
  }

  void read_prologue() {
    const auto bytes = file_->bytes();
    const std::string_view start = {reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kZip.size())};
    require(start != kZip,
            "{0}: expected safetensors or PyTorch's legacy form, got PyTorch's zip form; convert it to safetensors: "
            "python3 -c 'import torch, safetensors.torch as s; s.save_file({{k: v.clone().contiguous() for k, v in "
            "torch.load(\"{0}\", \"cpu\", weights_only=True).items()}}, \"weights.safetensors\")'",
            file_->name());
    const Pickle magic = next_pickle();
    require(magic.root->kind == Kind::kBigInteger && magic.root->text == kMagic,
            "{}: expected PyTorch's magic number at offset 0, got another value; {}", file_->name(), kRemedy);
    const Pickle protocol = next_pickle();
    require(protocol.root->kind == Kind::kInteger && protocol.root->integer == kProtocol,
            "{}: expected protocol {} at offset {}, got another; {}", file_->name(), kProtocol, protocol.root->offset,
            kRemedy);
    const Pickle system = next_pickle();
    const auto& facts = expect(system.root, Kind::kDict, "the facts of the saving system")->items;
    for (size_t i = 0; i < facts.size(); i += 2) {
      require(facts[i]->text != "little_endian" || facts[i + 1]->integer == 1,
              "{}: expected a little-endian file, got a big-endian one; save it on another machine", file_->name());
    }
  }

  const Value* expect(const Value* value, Kind kind, std::string_view what) const {
    require(value->kind == kind, "{}: expected {}, got another value at offset {}; {}", file_->name(), what,
            value->offset, kRemedy);
    return value;
  }

  /// A persistent identifier: ("storage", type, key, location, elements, view). The first of a key declares it, all
  /// others must agree.
  Storage& declare_storage(const Value& persistent) {
    const auto& fields = expect(persistent.items[0], Kind::kTuple, "a storage")->items;
    require(fields.size() >= 5 && fields[0]->text == "storage" && fields[1]->kind == Kind::kGlobal &&
                fields[2]->kind == Kind::kText && fields[4]->kind == Kind::kInteger && fields[4]->integer >= 0,
            "{}: expected (\"storage\", type, key, location, elements), got other values at offset {}; {}",
            file_->name(), persistent.offset, kRemedy);
    require(fields.size() == 5 || fields[5]->kind == Kind::kNone,
            "{}: expected whole storages, got a view at offset {}; save it with PyTorch 0.4 or newer", file_->name(),
            persistent.offset);
    const auto global = static_cast<size_t>(std::ranges::find(kGlobals, fields[1]->text) - kGlobals.begin());
    require(global < 2 * kDtypes.size(), "{}: expected a storage type, got {} at offset {}; {}", file_->name(),
            printable(fields[1]->text), fields[1]->offset, kRemedy);
    const torch::ScalarType type = kDtypes[global % kDtypes.size()];
    Storage& storage = storages_.try_emplace(fields[2]->text, Storage{type, fields[4]->integer, {}}).first->second;
    require(storage.type == type && storage.elements == fields[4]->integer,
            "{}: storage {}: expected one type and size, got two at offset {}; {}", file_->name(),
            printable(fields[2]->text), persistent.offset, kRemedy);
    return storage;
  }

  /// The next storage of the file: its number of elements, then their bytes, copied because they are not aligned.
  void read_storage(const Value& key) {
    const auto found = storages_.find(key.text);
    require(found != storages_.end() && !found->second.data.defined(),
            "{}: storage {}: expected one that a tensor uses, listed once, got another at offset {}; {}", file_->name(),
            printable(key.text), key.offset, kRemedy);
    Storage& storage = found->second;
    const auto item = static_cast<int64_t>(torch::elementSize(storage.type));
    const int64_t left = static_cast<int64_t>(file_->bytes().size()) - at_ - static_cast<int64_t>(sizeof(int64_t));
    int64_t stated = -1;
    if (left >= 0) std::memcpy(&stated, file_->bytes().data() + at_, sizeof stated);
    require(stated == storage.elements && stated <= left / item,
            "{}: storage {}: expected {} elements of {} bytes at offset {}, got {} and {} bytes left; {}",
            file_->name(), printable(key.text), storage.elements, item, at_, stated, std::max<int64_t>(left, 0),
            kRemedy);
    at_ += static_cast<int64_t>(sizeof stated);
    const bool is_bool = storage.type == torch::kBool;  // read as bytes: a bool of 2 would be undefined
    storage.data = torch::empty({stated}, is_bool ? torch::kUInt8 : storage.type);
    if (stated > 0) {
      std::memcpy(storage.data.data_ptr(), file_->bytes().data() + at_, static_cast<size_t>(stated * item));
    }
    if (is_bool) storage.data = storage.data.ne(0);
    at_ += stated * item;
  }

  /// Everything under `value`, by name.
  void collect(const Value& value, const std::string& name, int depth) {
    text_bytes_ += name.size() + value.text.size() + 1;
    require(depth <= kDepthLimit && text_bytes_ <= kTextLimit,
            "{}: {}: expected at most {} levels and {} bytes of names and texts, got more at offset {}; {}",
            file_->name(), printable(name), kDepthLimit, kTextLimit, value.offset, kRemedy);
    const auto inner = [&](std::string_view key) {
      return depth == 0 ? std::string(key) : fmt::format("{}.{}", name, key);
    };
    switch (value.kind) {
      case Kind::kDict:
        for (size_t i = 0; i < value.items.size(); i += 2) {
          const Value& key = *value.items[i];
          require(key.kind == Kind::kText || key.kind == Kind::kInteger,
                  "{}: {}: expected texts or numbers as keys, got others at offset {}; save model.state_dict()",
                  file_->name(), printable(name), key.offset);
          collect(*value.items[i + 1], inner(key.kind == Kind::kText ? key.text : std::to_string(key.integer)),
                  depth + 1);
        }
        break;
      case Kind::kList:
      case Kind::kTuple:
        for (size_t i = 0; i < value.items.size(); ++i) collect(*value.items[i], inner(std::to_string(i)), depth + 1);
        break;
      case Kind::kCall: add(result_.tensors, name, tensor(value, name), value.offset); break;
      case Kind::kBool: add(result_.metadata, name, value.integer != 0 ? "true" : "false", value.offset); break;
      case Kind::kInteger: add(result_.metadata, name, std::to_string(value.integer), value.offset); break;
      case Kind::kReal: add(result_.metadata, name, fmt::format("{}", value.real), value.offset); break;
      case Kind::kText: add(result_.metadata, name, std::string(value.text), value.offset); break;
      case Kind::kNone:
      case Kind::kBigInteger:
      case Kind::kGlobal:
      case Kind::kPersistent: break;  // says nothing about a model
    }
  }

  template <class Map>
  void add(Map& map, const std::string& name, typename Map::mapped_type value, int64_t offset) {
    require(map.emplace(name, std::move(value)).second,
            "{}: {}: expected each name once, got it again at offset {}; {}", file_->name(), printable(name), offset,
            kRemedy);
  }

  /// The tensor that a recorded call would have built: a storage, an offset into it, sizes and strides.
  torch::Tensor tensor(const Value& call, const std::string& name) {
    const Value* rebuilt = &call;
    if (call.items[0]->text == "torch._utils._rebuild_parameter" && !call.items[1]->items.empty()) {
      rebuilt = call.items[1]->items[0];
    }
    const std::string where = fmt::format("{}: {}", file_->name(), printable(name));
    require(rebuilt->kind == Kind::kCall && rebuilt->items[0]->text.starts_with("torch._utils._rebuild_tensor") &&
                rebuilt->items[1]->items.size() >= 4,
            "{}: expected a tensor, got another object at offset {}; {}", where, rebuilt->offset, kRemedy);
    const auto& fields = rebuilt->items[1]->items;
    require(fields[0]->kind == Kind::kPersistent && fields[1]->kind == Kind::kInteger,
            "{}: expected a storage and an offset, got other values at offset {}; {}", where, rebuilt->offset, kRemedy);
    const Storage& storage = declare_storage(*fields[0]);
    require(storage.data.defined(), "{}: expected its storage in the file, got none (offset {}); {}", where,
            fields[0]->offset, kRemedy);
    const auto sizes = dimensions(*fields[2], where), strides = dimensions(*fields[3], where);
    check_view(storage.elements, fields[1]->integer, sizes, strides, where, rebuilt->offset);
    return storage.data.as_strided(sizes, strides, fields[1]->integer);
  }

  std::vector<int64_t> dimensions(const Value& tuple, const std::string& where) const {
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

  std::shared_ptr<const MappedFile> file_;
  int64_t at_ = 0;
  size_t text_bytes_ = 0;
  std::map<std::string_view, Storage> storages_;  // keys point into the file
  TensorFile result_;
};

}  // namespace

TensorFile read_pth(const std::filesystem::path& path) { return LegacyReader(path).read(); }

}  // namespace beit
